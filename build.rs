//! How the program is linked.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    // A program that may stand anywhere in memory holds a list of the addresses to adjust when it starts. Written
    // short, it is a hundredth of its size. The loader must know that form: glibc's does since 2.36 (Debian 12).
    if is("PROFILE", "release")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && env::var("TARGET").ok() == env::var("HOST").ok()
        && loader_knows()
    {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    // Generic code comes out the same for many types; a linker that can keeps one copy of it. GNU's cannot.
    if is("PROFILE", "release") && linker_takes(FOLD) {
        println!("cargo:rustc-link-arg-bins={FOLD}");
    }
}

/// One copy of functions with the same code.
const FOLD: &str = "-Wl,--icf=all";

/// Whether the linker of this build takes an argument: the smallest program is linked with it.
fn linker_takes(argument: &str) -> bool {
    let of = |name: &str| env::var(name).ok();
    let (Some(rustc), Some(folder), Some(target)) = (of("RUSTC"), of("OUT_DIR"), of("TARGET"))
    else {
        return false;
    };
    let source = Path::new(&folder).join("linked.rs");
    if fs::write(&source, "fn main() {}").is_err() {
        return false;
    }
    let mut linking = Command::new(rustc);
    linking
        .args(["--target", &target, "--out-dir", &folder])
        .args(["-C", &format!("link-arg={argument}")]);
    if let Some(linker) = of("RUSTC_LINKER") {
        linking.args(["-C", &format!("linker={linker}")]);
    }
    for flag in of("CARGO_ENCODED_RUSTFLAGS")
        .iter()
        .flat_map(|flags| flags.split('\x1f'))
    {
        if !flag.is_empty() {
            linking.arg(flag);
        }
    }
    linking
        .arg(&source)
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Whether this machine's loader knows the short form; of another machine's nothing is known.
fn loader_knows() -> bool {
    let asked = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let Some(version) = asked
        .ok()
        .and_then(|answer| String::from_utf8(answer.stdout).ok())
    else {
        return false;
    };
    let mut numbers = version.trim().trim_start_matches("glibc ").split('.');
    let mut next = || numbers.next()?.parse::<u32>().ok();
    next().zip(next()).is_some_and(|version| version >= (2, 36))
}
