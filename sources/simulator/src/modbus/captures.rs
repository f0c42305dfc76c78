//! Captured packets for the tests. They are not ours to pass on, so they lie beside the repository. Without them a
//! test says so and checks nothing, except on CI, where that is a failure.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

/// A packet by its folder and name.
pub(super) fn packet(folder: &str, name: &str) -> Option<Vec<u8>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/packets");
    if !root.is_dir() {
        assert!(
            std::env::var_os("CI").is_none_or(|value| value != "true"),
            "the captures are missing: {}",
            root.display()
        );
        // Not `eprintln!`, which the harness hides when a test passes.
        let said = writeln!(std::io::stderr(), "SKIPPED, no captures: {folder}/{name}");
        said.expect("standard error");
        return None;
    }
    let file = root.join(folder).join(format!("{name}.hex"));
    let text = fs::read_to_string(file).expect("a captured packet");
    Some(bytes(text.trim()))
}

/// The registers of a captured reply over UDP.
pub(super) fn modbus_words(name: &str) -> Option<Vec<u16>> {
    let packet = packet("modbus", name)?;
    let data = &packet[5..packet.len() - 2];
    let words = data.chunks_exact(2);
    Some(
        words
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect(),
    )
}

/// Bytes of hex.
pub(super) fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
        .collect()
}
