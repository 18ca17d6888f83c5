# Completion of tornadod's command line for bash: commands, their options, files.  What there is it
# asks of the program's own help, so it is never behind it.

_tornadod_words()
{
    # Of commands ("  name       text"), or of options ("  -c, --config FILE" and "--listener NAME").
    case $1 in
    commands) "$2" --help 2>/dev/null | sed -n '/^Commands/,$s/^  \([a-z]\+\)  .*/\1/p' ;;
    options) "$2" ${3:+"$3"} --help 2>/dev/null |
        sed -n 's/^ \{2,6\}\(\(-[a-zA-Z]\), \)\?\(--[a-z-]\+\).*/\2 \3/p' ;;
    sections) "$2" -T 2>/dev/null | awk -F' *= *' '
        /^\[/ { section = substr($0, 2, index($0, "]") - 2) }
        /^[a-z_]+ *=/ { print section "." $1 "=" }' ;;
    esac
}

_tornadod()
{
    local program=$1 word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command='' i

    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -c | --config | --set | --listen | --listener | --header | --dir | --control) ((i++)) ;;
        -*) ;;
        *) command=${COMP_WORDS[i]} && break ;;
        esac
    done
    case $before:$command:$word in
    --set:*)
        compopt -o nospace
        COMPREPLY=($(compgen -W "$(_tornadod_words sections "$program")" -- "$word"))
        ;;
    -c:* | --config:* | --control:* | --dir:*)
        compopt -o filenames
        COMPREPLY=($(compgen -f -- "$word"))
        ;;
    *:-*)
        COMPREPLY=($(compgen -W "$(_tornadod_words options "$program" "$command")" -- "$word"))
        ;;
    help:help:* | *::*)
        COMPREPLY=($(compgen -W "$(_tornadod_words commands "$program")" -- "$word"))
        ;;
    check:check:* | run:run:*)
        compopt -o filenames
        COMPREPLY=($(compgen -f -- "$word"))
        ;;
    explain:explain:*)
        COMPREPLY=($(compgen -W 'GET HEAD POST PUT DELETE PATCH OPTIONS' -- "$word"))
        ;;
    handlers:handlers:*)
        COMPREPLY=($(compgen -W release -- "$word"))
        ;;
    esac
}

complete -F _tornadod tornadod
