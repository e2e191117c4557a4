# A copy of the repository whose manifests and lock files can be changed. Source this file from the root.

root=$PWD

# copy DIRECTORY: copies the files that git tracks or would add, as a workspace of one package.
copy() {
    rm -rf "$1"
    mkdir -p "$1"
    git ls-files -coz --exclude-standard -- Cargo.toml Cargo.lock README.md src benches tests 'examples/*.json' |
        tar --null --ignore-failed-read -cT - 2>/dev/null | tar -x -C "$1"
    # The other members have dependencies of their own.
    sed -i '/^members = \[$/,/^\]$/d; /^default-members = /d' "$1/Cargo.toml"
}
