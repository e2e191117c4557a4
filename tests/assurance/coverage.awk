# Sums up the coverage of a test run, from the tracefile of llvm-cov (lcov). Unit tests are at the bottom of
# their file and are not counted.
#
#   -v output=totals   lines found and hit, branches found and hit
#   -v output=missing  the lines that were not reached, and those with a branch that was not

function end_of_code(path,    line, number) {
    while ((getline line < path) > 0) {
        number++
        if (line ~ /^mod tests \{/) { close(path); return number }
    }
    close(path)
    return number + 1
}

/^SF:/ {
    path = substr($0, 4)
    sub(/^.*\/src\//, "src/", path)
    end = end_of_code(path)
}
/^DA:/ {
    split(substr($0, 4), field, ",")
    if (field[1] + 0 >= end) next
    lines++
    if (field[2] + 0 > 0) hit_lines++
    else if (output == "missing") print path ":" field[1] ": not run"
}
/^BRDA:/ {
    split(substr($0, 6), field, ",")
    if (field[1] + 0 >= end) next
    branches++
    if (field[4] != "-" && field[4] + 0 > 0) hit_branches++
    else if (output == "missing") print path ":" field[1] ": branch " field[3] " not taken"
}
END { if (output == "totals") print lines, hit_lines, branches, hit_branches }
