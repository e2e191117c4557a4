# Finds openings and words that make a sentence hard to read: see tests/prose.sh.

function found(what) { printf "%s:%d: %s: %s\n", FILENAME, FNR, what, text; failed = 1 }

FNR == 1 { fenced = 0; table = 0; is_rust = FILENAME ~ /\.(rs|planted)$/ }

{
    text = $0
    if (is_rust) {
        # An error message is prose as well.
        if (text ~ /^[ \t]*#\[error\("/) sub(/^[ \t]*#\[error\("/, "", text)
        else if (text ~ /^[ \t]*\/\//) sub(/^[ \t]*\/\/[\/!]?[ \t]*/, "", text)
        else { fenced = 0; next }
    } else sub(/^[ \t]*(#|>|-|\*|[0-9]+\.)?[ \t]*/, "", text)
    # The table of the assurance page has the texts of the rows, which are not checked here.
    if (text ~ /^<!-- table -->/) table = 1
    if (text ~ /^<!-- end of table -->/) table = 0
    if (text ~ /^```/) { fenced = !fenced; next }
    if (fenced || table) next
    # Code, quotations and addresses are left out. A question may begin with any word.
    gsub(/`[^`]*`/, "`", text)
    gsub(/"[^"]*"/, "\"", text)
    gsub(/\]\([^)]*\)/, "]", text)
    if (text ~ /\?/) next
    if (text ~ /(^|[.:;] |\*\*)(What|Who|Whoever|Whose|Whom|That) /) found("opening")
    if (text ~ /^whoever | whoever([ ,.;:]|$)/) found("whoever")
    if (match(text, /(^|[^a-zA-Z_-])([Aa]new|[Tt]old|[Tt]ells?|[Mm]ended|[Cc]atalogues?)([^a-zA-Z_-]|$)/)) found("word")
    if (match(text, /(^|[^a-zA-Z_-])(for good|stands? behind|seen to|sees to|by itself|goes on|go on|in its hand|of its own accord)([^a-zA-Z_-]|$)/)) found("phrase")
    if (match(text, /(^|[^a-zA-Z_-])([Tt]he|[Aa]|[Ee]very|[Ee]ach) host('s)?([^a-zA-Z_-]|$)/)) found("host, for application")
    if (match(text, /(^|[^a-zA-Z_-])[Aa]nswer(s|ed)?([^a-zA-Z_-]|$)/)) found("answer, for response, return or reply")
}

END { exit failed }
