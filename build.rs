//! How the program is linked.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    // A program that may stand anywhere in memory holds a list of the places to be mended when it starts. Written
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
