#!/bin/sh
# Writes man pages and shell completion of holdfastctl below the folder given, as /usr/share wants them.
set -eu
share=$1
mkdir -p "$share/man/man1" "$share/bash-completion/completions" "$share/zsh/vendor-completions" "$share/fish/vendor_completions.d" bin
go build -o bin/holdfastctl ./cmd/holdfastctl
bin/holdfastctl man "$share/man/man1"
bin/holdfastctl completion bash >"$share/bash-completion/completions/holdfastctl"
bin/holdfastctl completion zsh >"$share/zsh/vendor-completions/_holdfastctl"
bin/holdfastctl completion fish >"$share/fish/vendor_completions.d/holdfastctl.fish"
