//! Faults of the kinds that the tools look for, each with its own test.

// Planted: the two features do not compile together. A check of either one alone does not show it.
#[cfg(all(feature = "one", feature = "other"))]
compile_error!("the planted combination of features");

/// Returns the bytes of a number in little-endian order on every machine, but for the planted fault.
pub fn encoded(number: u32) -> [u8; 4] {
    // Planted: the byte order of this machine.
    number.to_ne_bytes()
}

/// Removed in the planted break of the public interface.
pub fn sum(a: u8, b: u8) -> u8 {
    // Planted: an overflow that wraps in a release build.
    a + b
}

#[cfg(test)]
mod tests {
    use std::{cell::UnsafeCell, hint::black_box, sync::Arc, thread};

    use super::*;

    #[test]
    fn reads_behind_the_end() {
        let bytes = black_box(vec![1_u8; 8].into_boxed_slice());
        let place = black_box(bytes.len());
        // Planted: a read out of bounds.
        let byte = unsafe { bytes.as_ptr().add(place).read() };
        black_box(byte);
    }

    #[test]
    fn writes_behind_the_end() {
        let mut bytes = black_box(vec![1_u8; 8].into_boxed_slice());
        let place = black_box(bytes.len());
        unsafe { bytes.as_mut_ptr().add(place).write(7) };
        black_box(bytes);
    }

    struct Shared(UnsafeCell<u32>);

    // Planted: the type is not `Sync`.
    unsafe impl Sync for Shared {}

    #[test]
    fn races() {
        let shared = Arc::new(Shared(UnsafeCell::new(0)));
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || unsafe { *other.0.get() += 1 });
        unsafe { *shared.0.get() += 1 };
        thread.join().unwrap();
    }

    #[test]
    fn encodes_alike_everywhere() {
        assert_eq!(encoded(1), [1, 0, 0, 0]);
    }

    #[test]
    fn overflows() {
        assert!(black_box(sum(black_box(200), black_box(100))) < 200);
    }
}
