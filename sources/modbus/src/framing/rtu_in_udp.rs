//! Modbus RTU in UDP datagrams, as GoodWe's WiFi modules speak it: a bare request, and `AA 55` before the reply
//! (PROTOCOL-GOODWE-MODBUS 2.1).
//!
//! There is no sequence number: what tells a reply is unit, function and byte count, a socket of its own for each request,
//! and a look at the content.

use kstar_source::error::Rejection;

use crate::frame::{Answer, Request};
use crate::reasons;

/// What stands before a reply.
pub(crate) const MARK: [u8; 2] = [0xaa, 0x55];

/// What a datagram says that may hold the reply, with bytes before it, twice, or only half of it.
pub fn accept(request: &Request, datagram: &[u8]) -> Result<Answer, Rejection> {
    let mut first_rejection = None;
    for (position, _) in datagram
        .windows(MARK.len())
        .enumerate()
        .filter(|(_, window)| *window == MARK)
    {
        let reply = datagram.get(position + MARK.len()..).unwrap_or_default();
        match request.rtu_answer(reply) {
            Ok((answer, _)) => return Ok(answer),
            Err(rejection) => first_rejection = first_rejection.or(Some(rejection)),
        }
    }
    Err(first_rejection.unwrap_or_else(|| reasons::no_frame(datagram)))
}
