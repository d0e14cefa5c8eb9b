//! The only file of this crate with `unsafe`: scheduling class and floating-point mode of a thread.
//!
//! Refusals are results, not failures: a thread without real-time priority still serves calls, and
//! the caller reports it as *degraded*.
#![allow(unsafe_code)]

use std::io;

/// Bits of MXCSR that make denormal results and operands zero (Intel SDM vol. 1, §10.2.3).
#[cfg(target_arch = "x86_64")]
const MXCSR_FLUSH_TO_ZERO_AND_DENORMALS_ARE_ZERO: u32 = 1 << 15 | 1 << 6;

/// Asks for SCHED_FIFO at `priority` (1..=99) for the calling thread.
///
/// # Errors
/// The kernel's refusal, usually `EPERM` without CAP_SYS_NICE or an RTPRIO limit.
pub fn set_fifo_priority(priority: u8) -> io::Result<()> {
    let parameter = libc::sched_param {
        sched_priority: i32::from(priority),
    };
    // SAFETY: `parameter` is a valid sched_param for the duration of the call; pid 0 names the
    // calling thread, so no other thread's scheduling is touched.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Makes the calling thread's arithmetic flush denormal floats to zero, so that a filter that rings
/// out costs no more than one that works.
pub fn flush_denormals() {
    #[cfg(target_arch = "x86_64")]
    {
        let mut mxcsr: u32 = 0;
        // SAFETY: stmxcsr writes four bytes to `mxcsr`, which lives on this stack frame.
        unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr, options(nostack)) };
        mxcsr |= MXCSR_FLUSH_TO_ZERO_AND_DENORMALS_ARE_ZERO;
        // SAFETY: ldmxcsr reads four bytes from `mxcsr`; only the two flush bits were changed, no
        // reserved bit is set, and the register belongs to this thread alone.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const mxcsr, options(nostack)) };
    }
    #[cfg(target_arch = "aarch64")]
    {
        /// FPCR.FZ (Arm ARM, C5.2.8).
        const FPCR_FLUSH_TO_ZERO: u64 = 1 << 24;
        let mut fpcr: u64;
        // SAFETY: reading and writing FPCR touches no memory; it belongs to this thread alone.
        unsafe {
            std::arch::asm!("mrs {}, fpcr", out(reg) fpcr, options(nomem, nostack));
            fpcr |= FPCR_FLUSH_TO_ZERO;
            std::arch::asm!("msr fpcr, {}", in(reg) fpcr, options(nomem, nostack));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denormals_become_zero_on_a_thread_that_asked() {
        let smallest_normal = std::hint::black_box(f32::MIN_POSITIVE);
        let halved = std::thread::spawn(move || {
            flush_denormals();
            std::hint::black_box(smallest_normal) / std::hint::black_box(2.0)
        })
        .join()
        .unwrap();
        assert_eq!(halved.to_bits(), 0);
        assert_ne!(
            (smallest_normal / std::hint::black_box(2.0)).to_bits(),
            0,
            "others keep theirs"
        );
    }
}
