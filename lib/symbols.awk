# The functions and variables that headers declare with the mark `mark`, one "name;" a line, for the
# linker's version script.  A declaration may go over several lines.

# What a declaration declares: of a variable its last word, of a function the word before the first
# "(", of a pointer to a function the word in "(*name)".
function declared(text,    name)
{
    sub(".*[^A-Za-z0-9_]" mark "[ \n]", "", text)
    gsub(/__attribute__ *\(\([^)]*\)*\)/, "", text)
    if (match(text, /[a-z0-9_]+ *\(/) || match(text, /\( *\*[a-z0-9_]+\)/) ||
        match(text, /[a-z0-9_]+ *(\[[^]]*\])* *$/))
        name = substr(text, RSTART, RLENGTH)
    gsub(/\[.*|[^a-z0-9_]/, "", name)
    return name
}

# Macros are no declarations.
directive || /^#/ { directive = /\\$/; next }

{
    if (comment && !sub(/^.*\*\//, ""))
        next
    gsub(/\/\*([^*]|\*[^\/])*\*\//, " ")
    comment = sub(/\/\*.*/, "")
    text = text " " $0
    while ((end = match(text, /[;{}]/)) > 0) {
        head = substr(text, 1, end - 1)
        if (match(head, "[^A-Za-z0-9_]" mark "[ \n]"))
            print declared(head) ";" | "sort -u"
        text = substr(text, end + 1)
    }
}
