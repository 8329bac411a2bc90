#!/bin/sh
# Builds the program of the image, from the top of the repository. Needs Rust, a C compiler, make, binutils and
# Python 3.11.
#
# usage: deploy/build.sh FOLDER
#
# Writes FOLDER/imprint-bridge, without symbols, FOLDER/imprint-bridge.debug, with the symbols for a debugger or a
# profiler, and FOLDER/imprint-bridge.cdx.json, the bill of materials (CycloneDX). The build fails if a crate has a
# licence or an origin that is not allowed. Two builds of one commit are equal, byte by byte: tests/supply/rebuild.py
# compares them.
set -eu

folder="$1"
triple="$(rustc -vV | sed -n 's/^host: //p')"
cargo_home="${CARGO_HOME:-$HOME/.cargo}"

# The folders of this machine stay out of the program. The build has no --target, because cargo would then compile the
# procedural macros and the build scripts without these flags: the hash of such a crate would depend on the folder, and
# so would the order of the code in the program.
export RUSTFLAGS="--remap-path-prefix=$PWD=/src --remap-path-prefix=$cargo_home=/cargo"
export CFLAGS="-ffile-prefix-map=$PWD=/src -ffile-prefix-map=$cargo_home=/cargo"
# mimalloc compiles the date and the time of its build into the program, and a compiler takes both from this variable.
export SOURCE_DATE_EPOCH=0
export CARGO_PROFILE_DIST_DEBUG=line-tables-only CARGO_PROFILE_DIST_STRIP=none
# A folder of its own for each platform, because builds for two platforms can share the cache of the image.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/$triple"
# The bill of materials needs the manifests of all crates, also of those that only tests use.
cargo fetch --locked
# The feature "sandbox" simulates Imprint. A production system does not need it.
cargo build --profile dist --locked --no-default-features

mkdir -p "$folder"
built="$CARGO_TARGET_DIR/dist/imprint-bridge"
objcopy --only-keep-debug "$built" "$folder/imprint-bridge.debug"
objcopy --strip-all --add-gnu-debuglink="$folder/imprint-bridge.debug" "$built" "$folder/imprint-bridge"
chmod 0755 "$folder/imprint-bridge"
python3 tests/supply/sbom.py "$folder/imprint-bridge.cdx.json" "$triple"
