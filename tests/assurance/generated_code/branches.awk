# Counts the conditional branches and the calls of listed functions, and compares them with the expected ones.
#
#   awk -v processor=NAME -f branches.awk expected files-of-demangled-assembly
#
# In `expected`, a line has a function and its number of conditional branches. An indented line `calls` below
# it names the functions that it may call. The other indented lines give the reasons. A line that begins with
# `outside` names functions that are not checked. Jumps through a table and conditional returns count as
# conditional branches. The assembly is that of aarch64 or 32-bit ARM.

FNR == 1 { file++ }
file == 1 && /^(#|$)/ { next }
file == 1 && /^outside / { for (place = 2; place <= NF; place++) outside[$place] = 1; next }
file == 1 && /^[^ ]/ { listed = $1; expected[listed] = $2; order[++count] = listed; next }
file == 1 && $1 == "calls" { for (place = 2; place <= NF; place++) may_call[listed, $place] = 1; next }
file == 1 { next }

# Removes the parts of a name that change from build to build.
function plain(name) { sub(/::h[0-9a-f]+$/, "", name); gsub(/\[[0-9a-f]+\]/, "", name); gsub(/ /, "_", name); return name }

/^[^ \t.#].*:$/ { name = $0; sub(/:$/, "", name); name = plain(name); found[name] = 1; next }
/^\t(cbz|cbnz|tbz|tbnz|tbb|tbh|br)\t/ || /^\tb\.[a-z][a-z]\t/ { branches[name]++ }
/^\t(b|bl|bx)(eq|ne|hs|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)(\.w)?\t/ { branches[name]++ }
/^\tpop(eq|ne|hs|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)(\.w)?\t.*pc/ { branches[name]++ }
/^\t(blr|blx)\t/ { call("an_address") }
/^\tbl\t/ || /^\tb(\.w)?\t[^.]/ { called = $0; sub(/^\tb[.lw]*\t/, "", called); call(plain(called)) }

function call(called) {
    if (!(name in expected) || (name, called) in may_call) return
    print name " calls " called
    unexpected_calls[name]++
}

END {
    for (place = 1; place <= count; place++) {
        name = order[place]
        if (name ~ /planted/) continue
        functions++
        explained += expected[name]
        if (!(name in found)) { print name " is not there"; missing++ }
        if (branches[name] + 0 != expected[name]) print name " has " branches[name] + 0 " conditional branches, expected " expected[name]
        if (branches[name] + 0 > expected[name]) more += branches[name] - expected[name]
        calls += unexpected_calls[name]
    }
    # Every function that a listed one calls must be listed too, or be `outside`.
    for (pair in may_call) {
        split(pair, parts, SUBSEP)
        if (!(parts[2] in expected) && !(parts[2] in outside)) { print parts[2] " is not listed"; missing++ }
    }
    printf "figure %d = 0 conditional branches for %s more than the %d that have a reason, in %d functions\n", more, processor, explained, functions
    printf "figure %d = 0 calls for %s in them of what is not listed\n", calls, processor
    printf "figure %d = 0 of them not found for %s\n", missing, processor
    printf "control %d > 0 conditional branches for %s in a comparison that ends at the first difference\n", branches["generated_code::planted_early_exit"], processor
    printf "control %d > 0 calls for %s in a comparison by the operator\n", unexpected_calls["generated_code::planted_slice_equality"], processor
}
