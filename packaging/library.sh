# Read by scripts/install: says by what lies in the folder $built which system a build is for, and what its library is called there.
# It sets
#
#   library       the shared library's name in the folder
#   folder        where it is installed, and location its path from LIBDIR
#   links         the names in LIBDIR that lead to it, each one to the one before
#   linked_by     the property by which CMake knows how programs are linked to it
#   import        the import library's name in the folder, for a DLL, and import_name its name in LIBDIR
#   archive       the static archive, where there is one to install, and system what it is linked with
#   strip_option  what takes line tables and local symbols from the library

# Fails where programs would ask for the library by another name than that of the header's ABI version.
compare_names() {
    [ "$2" = "$1" ] || fail "'$built/$library' has the name '$2' and the header's is '$1'; make library builds it anew"
}

folder=$LIBDIR links='' import='' archive='' system='' strip_option=--strip-unneeded
library=$(cd "$built" 2>/dev/null && ls libsfeuot.so libsfeuot.dylib sfeuot.dll 2>/dev/null) || true
case $library in
    libsfeuot.so)
        needs readelf
        name=libsfeuot.so.$abi
        compare_names "$name" "$(LC_ALL=C readelf -d "$built/$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]$/\1/p')"
        linked_by="IMPORTED_SONAME_RELEASE \"$name\""
        location=libsfeuot.so.$version
        links="$name libsfeuot.so"
        archive=libsfeuot.a
        [ -f "$built/$archive" ] || fail "'$built/$archive' is not there; make library writes it"
        # What `cargo rustc --release --crate-type staticlib -- --print native-static-libs` reports on Linux with glibc, but for
        # libgcc and libc, which every compiler adds in the form that it links.
        system=$(cat "$root/packaging/system-libraries")
        ;;
    libsfeuot.dylib)
        name=@rpath/libsfeuot.$abi.dylib
        if command -v otool >/dev/null; then
            compare_names "$name" "$(otool -D "$built/$library" | tail -n 1)"
        fi
        linked_by="IMPORTED_SONAME_RELEASE \"$name\""
        location=libsfeuot.$version.dylib
        links="libsfeuot.$abi.dylib libsfeuot.dylib"
        strip_option=-x
        ;;
    sfeuot.dll)
        # The name in LIBDIR is the one by which -lsfeuot finds it.
        if [ -f "$built/libsfeuot.dll.a" ]; then
            import=libsfeuot.dll.a import_name=libsfeuot.dll.a
        elif [ -f "$built/sfeuot.dll.lib" ]; then
            import=sfeuot.dll.lib import_name=sfeuot.lib
        else
            fail "'$built' has sfeuot.dll without libsfeuot.dll.a or sfeuot.dll.lib, which programs are linked with; cargo writes them"
        fi
        folder=$BINDIR
        location=$(from_lib BINDIR)/sfeuot.dll
        linked_by="IMPORTED_IMPLIB_RELEASE \"\${sfeuot_libdir}/$import_name\""
        ;;
    '') fail "'$built' has no libsfeuot.so, libsfeuot.dylib or sfeuot.dll; make library writes the one of its system" ;;
    *) fail "'$built' has libraries of several systems, and only one of them can be installed:" $library ;;
esac
