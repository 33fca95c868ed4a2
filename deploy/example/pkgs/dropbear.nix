# Debian's dropbear with the libraries it was linked with, run by their own loader: nothing of it is looked up outside.
{
  final,
  source,
  version,
}:
final.build {
  name = "dropbear-${version}";
  script = ''
    mkdir -p $out/bin
    cp -r ${source}/libexec ${source}/lib $out
    for program in $out/libexec/*; do
      name=$(basename $program)
      {
        echo "#!${final.busybox}/bin/ash"
        echo "exec $out/lib/ld-linux-x86-64.so.2 --library-path $out/lib --argv0 $name $program \"\$@\""
      } > $out/bin/$name
      chmod +x $out/bin/$name
    done
  '';
}
