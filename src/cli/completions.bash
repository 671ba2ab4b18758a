# Completion for bash: eval "$(nival completions bash)"

_nival() {
    # Bash splits at colons and equals signs, too, and the programs do not.
    local line=${COMP_LINE:0:COMP_POINT} words word about kind= tail
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    local last=$((${#words[@]} - 1))
    local current=${words[last]}
    # What stands before the part that bash is going to replace.
    tail=${current##*[:=]}
    local head=${current%"$tail"}
    COMPREPLY=()
    while IFS=$'\t' read -r word about; do
        if [[ -z $kind ]]; then
            kind=$word
            [[ $kind == filenames ]] && compopt -o filenames 2> /dev/null
        else
            COMPREPLY+=("${word#"$head"}")
        fi
    done < <(NIX_GET_COMPLETIONS=$last "${words[@]}" 2> /dev/null < /dev/null)
}

complete -F _nival nival nix nix-store nix-env nix-hash nix-copy-closure nix-collect-garbage nix-daemon
