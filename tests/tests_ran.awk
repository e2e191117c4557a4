# Reads the output of `cargo test`, and fails if nothing was tested: a program in which no test passed, a
# filter of `-v filters=` that matched no test, or no program at all. Otherwise a renamed test would be left
# out unnoticed.

BEGIN { wanted = split(filters, filter, " "); program = "the program" }

/^ +(Running|Doc-tests) / { program = $0; sub(/^ +/, "", program) }
/^test [^ ]/ && $2 != "result:" {
    for (place = 1; place <= wanted; place++) if (index($2, filter[place])) found[place] = 1
}
/^test result: / {
    programs++
    if ($4 == 0) { print "no test was run: " program; failed = 1 }
}
END {
    if (!programs) { print "no test was run"; failed = 1 }
    for (place = 1; place <= wanted; place++)
        if (!(place in found)) { print "no test is named like " filter[place]; failed = 1 }
    exit failed
}
