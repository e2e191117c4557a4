# Judges the results of rows, or makes the table of them: see tests/assurance.sh.

function holds(value, operator, target) {
    if (value !~ /^-?[0-9.]+(e[+-]?[0-9]+)?$/) return 0
    if (operator == "=") return value + 0 == target + 0
    if (operator == "<") return value + 0 < target + 0
    if (operator == "<=") return value + 0 <= target + 0
    if (operator == ">") return value + 0 > target + 0
    if (operator == ">=") return value + 0 >= target + 0
    return 0
}

function thousands(number,    sign, whole, rest) {
    if (number !~ /^-?[0-9]+(\.[0-9]+)?$/) return number
    whole = number; rest = ""
    if (match(number, /\./)) { whole = substr(number, 1, RSTART - 1); rest = substr(number, RSTART) }
    while (whole ~ /[0-9][0-9][0-9][0-9]/) sub(/[0-9][0-9][0-9](,|$)/, ",&", whole)
    return whole rest
}

function begin_row() {
    figures = controls = misses = 0
    figure_text = control_text = ""
    row = claim = date = commit = compiler = processor = status = seconds = ""
}

# A bar would end the cell.
function add(text, line) { gsub(/\|/, "\\|", line); return text == "" ? line : text "<br>" line }

function end_row(    verdict) {
    if (row == "") return
    verdict = status != 0 ? "**failed**" : figures == 0 || controls == 0 ? "**incomplete**" : misses > 0 ? "**missed**" : "met"
    if (verdict != "met") failed = 1
    if (output == "table")
        printf "| %d | %s | %s | %s | %s | `tests/assurance.sh full %d` (%d s) | %s, %s | %s | %s |\n",
            row, claim, verdict, figure_text, control_text, row, seconds, date, commit, compiler, processor
    else
        printf "row %d: %s, %d figures and %d controls, %d of them missed, %d s\n", row, verdict, figures, controls, misses, seconds
}

BEGIN {
    if (output == "table") {
        print "| # | claim | | figures | planted faults | command | date, commit | compiler | processor |"
        print "|--:|---|---|---|---|---|---|---|---|"
    }
    begin_row()
}

FNR == 1 && NR > 1 { end_row(); begin_row() }
/^(row|claim|date|commit|compiler|processor|seconds|status): / {
    key = $1; text = $0; sub(/^[a-z]+: /, "", text)
    if (key == "row:") row = text
    if (key == "claim:") claim = text
    if (key == "date:") date = text
    if (key == "commit:") commit = text
    if (key == "compiler:") compiler = text
    if (key == "processor:") processor = text
    if (key == "seconds:") seconds = text
    if (key == "status:") status = text
}
$1 == "figure" || $1 == "control" {
    held = holds($2, $3, $4)
    name = $0
    sub(/^[a-z]+ +[^ ]+ +[^ ]+ +[^ ]+ */, "", name)
    line = thousands($2) (held ? "" : " **missed**") " (" $3 " " thousands($4) "): " name
    if (!held) { misses++; if (output == "verdict") print "missed: " $0 }
    if ($1 == "figure") { figures++; figure_text = add(figure_text, line) }
    else { controls++; control_text = add(control_text, line) }
}
$1 == "measured" {
    name = $0
    sub(/^[a-z]+ +[^ ]+ */, "", name)
    figure_text = add(figure_text, thousands($2) ": " name)
}
END { end_row(); if (output == "verdict" && failed) exit 1 }
