# Completions of @NAME@ for bash: what can follow is asked of the program itself.
_@NAME@() {
    local line=${COMP_LINE:0:COMP_POINT} words=() at=-1 i word current prefix='' quote=''
    # Bash takes words apart at = and :, which the program does not.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        if ((at < 0)) || [[ $line == [[:space:]]* ]]; then
            at=$((at + 1))
            words[at]=''
        fi
        line=${line#"${line%%[![:space:]]*}"}
        word=${COMP_WORDS[i]}
        if ((i == COMP_CWORD)); then word=$line; fi
        words[at]+=$word
        line=${line#"$word"}
    done
    current=${words[at]}
    if [[ $current == [\"\']* ]]; then
        quote=1
        current=${current:1}
    else
        current=${current//\\/}
        # Only what follows the last of them is replaced.
        if [[ $current == *[=:]* ]]; then prefix=${current%"${current##*[=:]}"}; fi
    fi
    words[at]=$current
    COMPREPLY=()
    while IFS= read -r word; do
        word=${word#"$prefix"}
        if [[ ! $quote ]]; then printf -v word '%q' "$word"; fi
        COMPREPLY+=("$word")
    done < <(@VARIABLE@=bash @PROGRAM@ -- "${words[@]}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/\(] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o nosort -F _@NAME@ @NAME@ 2>/dev/null || complete -F _@NAME@ @NAME@
