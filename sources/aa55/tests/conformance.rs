//! The source keeps the contract of all sources.

use kstar_source::testing::conformance;
use kstar_source_aa55::Aa55Config;

/// A right reply to each request: a frame of the function that it asks for, around a payload of zeros.
fn reply(request: &[u8]) -> Option<Vec<u8>> {
    let &[0xaa, 0x55, ap, 0x7f, 0x01, function, 0, _, _] = request else {
        return None;
    };
    let length = match function {
        0x02 => 77,
        0x06 => 83,
        0x09 => 86,
        _ => return None,
    };
    let mut frame = vec![0xaa, 0x55, 0x7f, ap, 0x01, function | 0x80, length];
    frame.resize(7 + usize::from(length), 0);
    let sum: u16 = frame.iter().copied().map(u16::from).sum();
    frame.extend(sum.to_be_bytes());
    Some(frame)
}

#[tokio::test]
async fn it_keeps_the_contract_under_both_addresses() {
    for text in ["", "ap_address = 0xC0"] {
        let config: Aa55Config = toml::from_str(text).expect("a configuration");
        conformance(&config, reply).await;
    }
}
