# A program to install, in two versions.
{ final, version }:
final.build {
  name = "hello-${version}";
  script = ''
    mkdir -p $out/bin
    cat > $out/bin/hello <<END
    #!${final.busybox}/bin/ash
    echo "Hello from version ${version}"
    END
    chmod +x $out/bin/hello
  '';
}
