#!/bin/sh
# Goal: the house keeps its order.  Includes point one way (tornado <- base <- io <- http <- web <-
# daemon, and there site <- status <- worker <- master), handlers see <tornado/...> alone, one file
# knows http-parser, and each public header compiles alone, as C11 and as C++20.
cd "$(dirname "$0")/.." || exit 1
passed=0 failed=0

verdict() { # WHAT OFFENDERS
    if [ -z "$2" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAIL %s\n%s\n' "$1" "$2"
    fi
}

# The files of $1 include, of our own folders, only those in $2 (an extended regular expression).
folder_includes() {
    verdict "$1 includes $2 only" "$(find "$1" -maxdepth 1 -name '*.[chS]' -exec \
        grep -nE '^ *# *include +["<](tornado|base|io|http|web|daemon|lib|tests)/' /dev/null {} + |
        grep -vE "include +[\"<]($2)/")"
}

# The files of daemon/$1 include, of the daemon's chapters, only those in $2.
chapter_includes() {
    verdict "daemon/$1 includes $2 only" "$(grep -nE '^ *# *include +"daemon/[a-z]+/' \
        daemon/"$1"/*.[ch] | grep -vE "\"daemon/($2)/")"
}

folder_includes lib/tornado 'tornado'
folder_includes lib/base 'tornado|base'
folder_includes lib/io 'tornado|base|io'
folder_includes lib/http 'tornado|base|io|http'
folder_includes lib/web 'tornado|base|io|http|web'
for folder in daemon daemon/site daemon/status daemon/worker daemon/master daemon/commands; do
    folder_includes $folder 'tornado|base|io|http|web|daemon'
done
folder_includes daemon/testing 'tornado|base|io|http|web|daemon'
for folder in daemon/handlers daemon/handlers/*/; do
    folder_includes "$folder" 'tornado'
done
chapter_includes site 'site'
chapter_includes status 'site|status'
chapter_includes worker 'site|status|worker'
chapter_includes master 'site|status|worker|master'
folder_includes tests/handlers 'tornado'

# But bundled handlers: they are built as an author's are, and share what lies beside them.
verdict 'a file is included by its folder and name' "$(find lib daemon -name '*.[ch]' \
    ! -path 'daemon/handlers/*' -exec \
    grep -nE '^ *# *include +"[^/"]*"|^ *# *include +"\.' /dev/null {} +)"
verdict 'only lib/http/parser.c knows http-parser' "$(grep -rnE '# *include.*http_parser\.h' \
    lib daemon | grep -v '^lib/http/parser\.c:')"
verdict 'only lib/base/ini.c knows inih' "$(grep -rnE '# *include.*<ini\.h>' \
    lib daemon | grep -v '^lib/base/ini\.c:')"

for header in lib/tornado/*.h; do
    verdict "$header compiles alone as C11" "$(echo "#include <tornado/${header##*/}>
        int one;" | ${CC:-cc} -std=c11 -Wall -Wextra -Wpedantic -Wno-variadic-macros -Werror -Ilib \
            -fsyntax-only -x c - 2>&1)"
    verdict "$header compiles alone as C++20" "$(echo "#include <tornado/${header##*/}>" |
        ${CXX:-c++} -std=c++20 -Wall -Wextra -Werror -Ilib -fsyntax-only -x c++ - 2>&1)"
done
for header in lib/base/*.h lib/io/*.h lib/http/*.h lib/web/*.h daemon/*.h daemon/[!h]*/*.h; do
    [ -e "$header" ] || continue
    verdict "$header compiles alone" "$(echo "#include \"$header\"" |
        ${CC:-cc} -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -Ilib -I. -fsyntax-only -x c - 2>&1)"
done

echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
