# Judges the results of rows, or prints their table: see tests/assurance.sh, which writes a block for each
# row. A block has the line `begin`, the head of the row's script, `now:` with the present fingerprint of the
# sources, and the results.

function is_number(text) { return text ~ /^-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?$/ }

function holds(value, operator, target) {
    if (!is_number(value) || !is_number(target)) return 0
    if (operator == "=") return value + 0 == target + 0
    if (operator == "<") return value + 0 < target + 0
    if (operator == "<=") return value + 0 <= target + 0
    if (operator == ">") return value + 0 > target + 0
    if (operator == ">=") return value + 0 >= target + 0
    return 0
}

# Returns whether a declaration allows this text. `*` stands for a number above 0, and `?` for any number. So
# a figure of "0 of 0" is not a figure.
function allowed(pattern, text,    literal, number) {
    while (match(pattern, /[*?]/)) {
        literal = substr(pattern, 1, RSTART - 1)
        if (substr(text, 1, length(literal)) != literal) return 0
        text = substr(text, length(literal) + 1)
        number = substr(pattern, RSTART, 1)
        pattern = substr(pattern, RSTART + 1)
        if (!match(text, /^[0-9]+([.:-][0-9]+)*/)) return 0
        if (number == "*" && substr(text, 1, RLENGTH) !~ /[1-9]/) return 0
        text = substr(text, RLENGTH + 1)
    }
    return text == pattern
}

function thousands(number,    sign, whole, rest) {
    if (number !~ /^-?[0-9]+(\.[0-9]+)?$/) return number
    whole = number; rest = ""
    if (match(number, /\./)) { whole = substr(number, 1, RSTART - 1); rest = substr(number, RSTART) }
    while (whole ~ /[0-9][0-9][0-9][0-9]/) sub(/[0-9][0-9][0-9](,|$)/, ",&", whole)
    return whole rest
}

function begin_row() {
    begun = 1
    figures = controls = misses = 0
    figure_text = control_text = ""
    row = claim = mode = date = commit = compiler = processor = status = seconds = sources = now = ""
    first_figure = first_control = ""
    split("", declared); split("", printed); split("", shown); declarations = lines = 0
}

# A bar would end the cell of a table.
function cell(text) { gsub(/\|/, "\\|", text); return text }

function add(text, line) { return text "- " line "\n" }

# Prints a miss if the verdict is requested.
function miss(text) { misses++; if (output == "verdict") print text }

# Compares the printed lines with the declarations for this mode. Each declaration has one line, and each line
# has a declaration.
function compare(    place, line, parts, kind, wanted, matched, used) {
    for (place = 1; place <= declarations; place++) {
        split(declared[place], parts, "\t")
        if (parts[1] != "" && parts[1] != mode) continue
        matched = 0
        for (line = 1; line <= lines; line++)
            if (allowed(parts[2], printed[line])) {
                matched++; used[line] = 1
                # The summary shows the figure and the control that are declared first.
                if (parts[2] ~ /^figure/ && first_figure == "") first_figure = shown[line]
                if (parts[2] ~ /^control/ && first_control == "") first_control = shown[line]
            }
        if (matched == 0) { incomplete++; if (output == "verdict") print "missing: " parts[2] }
        if (matched > 1) { incomplete++; if (output == "verdict") print "printed " matched " times: " parts[2] }
    }
    for (line = 1; line <= lines; line++)
        if (!(line in used)) { incomplete++; if (output == "verdict") print "not declared: " printed[line] }
    if (figures == 0) { incomplete++; if (output == "verdict") print "no figure" }
    if (controls == 0) { incomplete++; if (output == "verdict") print "no control" }
}

function end_row(    verdict) {
    if (!begun) return
    begun = 0
    if (row == "") {
        failed = 1
        if (output == "table") printf "| %s | %s | **not measured** | | |\n", number, claim
        else print "no results"
        return
    }
    if (mode == "") mode = "full"
    incomplete = 0
    compare()
    verdict = status != "0" ? "**failed**" : misses > 0 ? "**missed**" : \
        sources == "" || sources != now ? "**stale**" : incomplete > 0 ? "**incomplete**" : "met"
    # A run is judged by the sources at its start, which must not have changed since.
    if (verdict != "met") failed = 1
    if (output == "table") {
        printf "| [%d](#row-%d) | %s | %s | %s | %s |\n",
            row, row, claim, verdict, cell(first_figure), cell(first_control)
        details = details sprintf("\n### Row %d\n\n%s.\n\nVerdict: %s.\nMeasured on %s at commit %s, with Rust %s on %s, in %d s: `tests/assurance.sh full %d`.\n\nFigures:\n\n%s\nPlanted faults:\n\n%s",
            row, toupper(substr(claim, 1, 1)) substr(claim, 2), verdict, date, commit, compiler, processor, seconds, row, figure_text, control_text)
    }
    else
        printf "row %d: %s, %d figures and %d controls, %d of them missed, %d missing or unknown, %d s\n",
            row, verdict, figures, controls, misses, incomplete, seconds
}

BEGIN {
    if (output == "table") {
        print "| # | claim | verdict | first figure | first planted fault |"
        print "|--:|---|---|---|---|"
    }
}

$1 == "begin" { end_row(); begin_row(); number = $2; next }

/^# claim: / { claim = $0; sub(/^# claim: /, "", claim); next }
/^# ((full|quick) )?(figure|control): / {
    text = $0; sub(/^# /, "", text)
    only = ""
    if (text ~ /^(full|quick) /) { only = $2; sub(/^[a-z]+ /, "", text) }
    sub(/: /, " ", text)
    declared[++declarations] = only "\t" text
    next
}
/^(row|mode|date|commit|compiler|processor|seconds|status|sources|now): / {
    key = $1; text = $0; sub(/^[a-z]+: /, "", text)
    if (key == "row:") row = text
    if (key == "mode:") mode = text
    if (key == "date:") date = text
    if (key == "commit:") commit = text
    if (key == "compiler:") compiler = text
    if (key == "processor:") processor = text
    if (key == "seconds:") seconds = text
    if (key == "status:") status = text
    if (key == "sources:") sources = text
    if (key == "now:") now = text
    next
}
$1 == "figure" || $1 == "control" {
    held = holds($2, $3, $4)
    name = $0
    sub(/^[a-z]+ +[^ ]+ +[^ ]+ +[^ ]+ */, "", name)
    line = thousands($2) (held ? "" : " **missed**") " (" $3 " " thousands($4) "): " name
    if (!held) miss("missed: " $0)
    printed[++lines] = $1 " " $3 " " $4 " " name
    shown[lines] = line
    if ($1 == "figure") { figures++; figure_text = add(figure_text, line) }
    else { controls++; control_text = add(control_text, line) }
}
$1 == "measured" {
    name = $0
    sub(/^[a-z]+ +[^ ]+ */, "", name)
    figure_text = add(figure_text, thousands($2) ": " name)
}
END {
    end_row()
    if (output == "table") printf "\n## The rows in detail\n%s\n", details
    if (output == "verdict" && failed) exit 1
}
