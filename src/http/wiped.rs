//! Bodies that may hold tokens, in memory that is wiped.

use alloc::vec::Vec;
use std::io;

use zeroize::Zeroizing;

/// Bytes that are wiped when they are dropped. Buffers that they outgrow are wiped too.
pub(crate) struct Wiped(Zeroizing<Vec<u8>>);

impl Wiped {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(capacity)))
    }

    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let len = self.0.len() + bytes.len();
        if len > self.0.capacity() {
            // INVARIANT: the vector never reallocates automatically, because that leaves a copy behind.
            let mut bigger = Zeroizing::new(Vec::with_capacity(2 * len));
            bigger.extend_from_slice(&self.0);
            self.0 = bigger;
        }
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn into_inner(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

impl io::Write for Wiped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Error for a body that is longer than the limit, or whose reading failed.
///
/// Reading fails at a limit of the application, or if the sender disconnects, which then reads no response.
#[cfg(any(feature = "axum", feature = "actix"))]
pub(crate) struct TooLarge;

/// Reads `body` to its end, at most `max` bytes. Wipes the copies, and the received parts that have no other
/// owner.
#[cfg(feature = "axum")]
pub(crate) async fn collect(body: axum::body::Body, max: usize) -> Result<Wiped, TooLarge> {
    use core::{
        future::poll_fn,
        pin::{Pin, pin},
    };

    use http_body::Body as _;
    use zeroize::Zeroize as _;

    let hint = body.size_hint();
    let expected = usize::try_from(hint.lower()).map_err(|_| TooLarge)?;
    if expected > max {
        return Err(TooLarge);
    }
    let mut bytes = Wiped::with_capacity(expected.max(1024));
    let mut body = pin!(body);
    while let Some(frame) = poll_fn(|context| Pin::as_mut(&mut body).poll_frame(context)).await {
        let Ok(part) = frame.map_err(|_| TooLarge)?.into_data() else { continue };
        let fits = part.len() <= max - bytes.0.len();
        if fits {
            bytes.extend(&part);
        }
        if let Ok(mut own) = part.try_into_mut() {
            own.as_mut().zeroize();
        }
        if !fits {
            return Err(TooLarge);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_grow_as_a_vector_does() {
        let mut bytes = Wiped::with_capacity(1);
        let mut expected = Vec::new();
        for (fill, len) in [0, 1, 2, 3, 100, 0, 5_000].into_iter().zip(1..) {
            let (fill, len): (usize, u8) = (fill, len);
            let part = alloc::vec![len; fill];
            bytes.extend(&part);
            expected.extend_from_slice(&part);
            assert_eq!(bytes.as_ref(), expected);
        }
    }
}
