//! Requests to valgrind, from `valgrind.h` and `memcheck.h`.

use std::arch::asm;

const COUNT_ERRORS: usize = 0x1201;
const RUNNING_ON_VALGRIND: usize = 0x1001;
/// `MC` in the upper half marks memcheck's own requests.
const MAKE_MEM_UNDEFINED: usize = 0x4d43_0001;
const MAKE_MEM_DEFINED: usize = 0x4d43_0002;
const CHECK_MEM_IS_DEFINED: usize = 0x4d43_0005;

/// Whether valgrind runs this process.
pub fn is_running() -> bool {
    request(RUNNING_ON_VALGRIND, 0, 0) > 0
}

/// How many errors valgrind has reported so far, repeated ones among them.
pub fn reports() -> usize {
    request(COUNT_ERRORS, 0, 0)
}

/// Every branch and every address that depends on `bytes` is an error from now on.
pub fn make_undefined(bytes: &mut [u8]) {
    request(MAKE_MEM_UNDEFINED, bytes.as_mut_ptr().addr(), bytes.len());
}

/// Ends what [`make_undefined`] began, for what was computed from it.
pub fn make_defined(bytes: &mut [u8]) {
    request(MAKE_MEM_DEFINED, bytes.as_mut_ptr().addr(), bytes.len());
}

/// Makes one report if any of `bytes` is undefined.
pub fn report_undefined(bytes: &[u8]) {
    request(CHECK_MEM_IS_DEFINED, bytes.as_ptr().addr(), bytes.len());
}

/// On a bare processor this does nothing and gives 0: the rotations add up to two whole turns.
fn request(code: usize, first: usize, second: usize) -> usize {
    let request = [code, first, second, 0, 0, 0];
    let mut answer = 0;
    // SAFETY: no register but `rdx` changes, nor any memory that Rust relies on: these
    // requests change what valgrind thinks of the bytes and not the bytes.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") request.as_ptr(),
            inout("rdx") answer,
            options(nostack),
        );
    }
    answer
}
