# SPDX-License-Identifier: MIT
#
# What the public headers declare, given to this program one after the other: a line for each typedef and
# each function, without comments, and with no more blanks than it needs, so that it can be compared.
#
# Constants come as `constant NAME`, a line each.

function emit(text)
{
    gsub(/[ \t\n]+/, " ", text)
    while (match(text, / [*(){}\[\],;]|[*(){}\[\],;] /)) {
        piece = substr(text, RSTART, RLENGTH)
        gsub(/ /, "", piece)
        text = substr(text, 1, RSTART - 1) piece substr(text, RSTART + RLENGTH)
    }
    gsub(/^ | $/, "", text)
    if (text ~ /^enum\{/)
        emit_constants(text)
    else if (text != "")
        print text
}

function emit_constants(text, n, i, names)
{
    gsub(/^enum\{|\}$/, "", text)
    n = split(text, names, ",")
    for (i = 1; i <= n; i++) {
        sub(/ ?=.*/, "", names[i])
        print "constant " names[i]
    }
}

# A comment may begin and end on any line.
{
    line = $0
    rest = ""
    while (line != "") {
        if (in_comment) {
            if ((at = index(line, "*/")) == 0)
                break
            line = substr(line, at + 2)
            in_comment = 0
        } else if ((at = index(line, "/*")) > 0) {
            rest = rest substr(line, 1, at - 1) " "
            line = substr(line, at + 2)
            in_comment = 1
        } else {
            rest = rest line
            break
        }
    }
    # What is for C++ is a line `extern "C" {` and, later, a line `}`.
    if (rest ~ /^[ \t]*#/ || rest ~ /^extern "C" \{/ || (depth == 0 && rest ~ /^\}[ \t]*$/))
        next
    n = split(rest, characters, "")
    for (i = 1; i <= n; i++) {
        c = characters[i]
        depth += (c == "{") - (c == "}")
        if (c == ";" && depth == 0) {
            emit(declaration)
            declaration = ""
        } else {
            declaration = declaration c
        }
    }
    declaration = declaration " "
}
