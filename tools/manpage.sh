#!/bin/sh
# manpage.sh HELP2MAN PROGRAM PAGE [COMMAND]: one man page from a command's --help.
set -eu
help2man=$1 program=$2 page=$3 command=${4-}
wrapper=$(mktemp)
trap 'rm -f "$wrapper"' EXIT
cat > "$wrapper" <<END
#!/bin/sh
case \$1 in
--version) exec "$program" --version ;;
*) exec "$program" $command --help ;;
esac
END
chmod +x "$wrapper"
about=$("$program" --help | sed -n "s/^  ${command:-nothing}  *\([A-Z].*\)\.\$/\1/p" | head -n 1)
name=fovea${command:+-$command}
"$help2man" --no-info --no-discard-stderr --section=1 --name="${about:-convolutional networks on CPUs}" --output="$page.part" "$wrapper"
base=$(basename "$wrapper")
sed "s/$base/$name/g; s/$(echo "$base" | tr '[:lower:]' '[:upper:]' | sed 's/\./\\./g')/$(echo "$name" | tr '[:lower:]' '[:upper:]')/g" "$page.part" > "$page"
rm -f "$page.part"
