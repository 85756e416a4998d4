# Completion of holdfast for bash.
_holdfast() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
	if [ "$COMP_CWORD" = 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W "$(holdfast --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')" -- "$word")
		return
	fi
	case ${before#-} in
	-config | config) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
	-state | state) mapfile -t COMPREPLY < <(compgen -d -- "$word") ;;
	-kind | kind) mapfile -t COMPREPLY < <(compgen -W "system agent content" -- "$word") ;;
	update) mapfile -t COMPREPLY < <(compgen -W "install status pause resume cancel" -- "$word") ;;
	install) mapfile -t COMPREPLY < <(compgen -d -- "$word") ;;
	-log | log) mapfile -t COMPREPLY < <(compgen -W "debug info warn error" -- "$word") ;;
	*) mapfile -t COMPREPLY < <(compgen -W "$(holdfast "${COMP_WORDS[1]}" --help 2>/dev/null | sed -n 's/^  -\([a-z]*\).*/--\1/p')" -- "$word") ;;
	esac
}
complete -F _holdfast holdfast
