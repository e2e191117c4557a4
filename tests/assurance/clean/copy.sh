# A copy of the repository in which manifests and locks can be changed. Source it from the root.

root=$PWD

# copy DIRECTORY: what is committed or will be, as a workspace of the one package.
copy() {
    rm -rf "$1"
    mkdir -p "$1"
    git ls-files -coz --exclude-standard -- Cargo.toml Cargo.lock README.md src benches tests 'examples/*.json' |
        tar --null --ignore-failed-read -cT - 2>/dev/null | tar -x -C "$1"
    # Other members have wishes of their own.
    sed -i '/^members = /d; /^default-members = /d' "$1/Cargo.toml"
}
