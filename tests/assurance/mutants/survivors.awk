# Compares the survivors, which are the mistakes that no test noticed, with the explained ones. The input is
# survivors.md, then the names of the survivors, then those of the noticed mistakes. A name is compared by its
# file and its words, without line and column. If a function has several mistakes of one name, they are
# counted. With `list`, only the explained survivors are printed.

function known(name) { sub(/:[0-9]+:[0-9]+: /, ": ", name); return name }

file == 1 && /^- ([0-9]+ × )?`src/ {
    count = $2 ~ /^[0-9]+$/ ? $2 : 1
    name = $0
    sub(/^[^`]*`/, "", name); sub(/`.*/, "", name)
    explained[name] = count
}
file == 2 { missed[known($0)]++ }
file == 2 && list && missed[known($0)] <= explained[known($0)] { print }
file == 3 { noticed[known($0)]++ }
END {
    if (list) exit
    for (name in missed) {
        if (missed[name] <= explained[name]) continue
        new += missed[name] - explained[name]
        print "not explained: " missed[name] - explained[name] " × " name
    }
    for (name in explained) {
        total += missed[name] < explained[name] ? missed[name] : explained[name]
        if (missed[name] < explained[name] && noticed[name]) {
            old += explained[name] - missed[name]
            print "explained, but noticed by now: " name
        }
    }
    printf "figure %d = 0 survivors without an explanation, of %d\n", new, total + new
    if (old) printf "measured %d explained survivors that are noticed by now\n", old
}
