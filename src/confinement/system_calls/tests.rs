use super::*;

/// The identifier of x86-64 and of 64-bit ARM in the data of a filter.
const PROCESSOR_ID: u32 = if cfg!(target_arch = "x86_64") {
    0xC000_003E
} else {
    0xC000_00B7
};

/// The arguments of a system call.
type Arguments = [u64; 6];

/// Runs the program of a filter in the same way as the kernel, and returns the answer.
fn run(filter: &BpfProgram, call: i64, arguments: Arguments) -> u32 {
    let mut data = Vec::new();
    data.extend(i32::try_from(call).unwrap().to_le_bytes());
    data.extend(PROCESSOR_ID.to_le_bytes());
    data.extend(0_u64.to_le_bytes());
    data.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
    let (mut at, mut value) = (0_usize, 0_u32);
    loop {
        let sock_filter { code, jt, jf, k } = filter[at];
        at += 1;
        let jump = |is_true: bool| usize::from(if is_true { jt } else { jf });
        match code {
            0x20 => {
                let from = usize::try_from(k).unwrap();
                value = u32::from_le_bytes(data[from..from + 4].try_into().unwrap());
            }
            0x54 => value &= k,
            0x05 => at += usize::try_from(k).unwrap(),
            0x15 => at += jump(value == k),
            0x25 => at += jump(value > k),
            0x35 => at += jump(value >= k),
            0x06 => return k,
            other => panic!("unknown instruction {other:#x}"),
        }
    }
}

/// Returns the error that the process gets for a call, or `None` if all filters allow the call.
fn refusal(call: i64, arguments: Arguments) -> Option<i32> {
    let filters = filters().unwrap();
    let answers = filters.iter().map(|filter| run(filter, call, arguments));
    // The kernel takes the answer with the highest priority. All numbers of errors have the same priority.
    let answer = answers.min().unwrap();
    if answer == libc::SECCOMP_RET_ALLOW {
        return None;
    }
    assert_eq!(answer & !libc::SECCOMP_RET_DATA, libc::SECCOMP_RET_ERRNO);
    i32::try_from(answer & libc::SECCOMP_RET_DATA).ok()
}

/// FAULTS N542
#[test]
fn a_dangerous_call_gets_an_error_and_all_others_pass() {
    const NONE: Arguments = [0; 6];
    let first = |value: i32| [u64::from(value.unsigned_abs()), 0, 0, 0, 0, 0];
    let second = |value: u64| [0, value, 0, 0, 0, 0];
    let refused = Some(libc::EPERM);
    for call in REFUSED.iter().chain(REFUSED_HERE) {
        assert_eq!(refusal(*call, NONE), refused, "{call}");
        assert_eq!(refusal(*call, [u64::MAX; 6]), refused, "{call}");
    }
    let thread = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_THREAD | libc::CLONE_SIGHAND;
    for (call, arguments, expected) in [
        (libc::SYS_read, NONE, None),
        (libc::SYS_openat, NONE, None),
        (libc::SYS_fdatasync, NONE, None),
        (libc::SYS_futex, NONE, None),
        (libc::SYS_prctl, NONE, None),
        (libc::SYS_ioctl, second(0x5401), None),
        (libc::SYS_ioctl, second(0x5412), refused),
        (libc::SYS_ioctl, second(0x1_0000_5412), refused),
        (libc::SYS_clone, first(thread), None),
        (
            libc::SYS_clone,
            first(thread | libc::CLONE_NEWUSER),
            refused,
        ),
        (libc::SYS_clone, first(libc::CLONE_NEWNET), refused),
        (libc::SYS_clone3, NONE, Some(libc::ENOSYS)),
        (libc::SYS_socket, first(libc::AF_INET6), None),
        (libc::SYS_socket, first(libc::AF_UNIX), None),
        (libc::SYS_socket, first(libc::AF_ALG), refused),
    ] {
        assert_eq!(refusal(call, arguments), expected, "{call} {arguments:?}");
    }
}

/// FAULTS N542: the numbers of the second interface of x86-64 do not stand in the list, so another filter refuses them.
#[test]
#[cfg(target_arch = "x86_64")]
fn the_second_interface_is_refused() {
    for call in [0, libc::SYS_execve, 520, 545] {
        let call = call | i64::from(X32_BIT);
        assert_eq!(refusal(call, [0; 6]), Some(libc::ENOSYS), "{call}");
    }
}

/// FAULTS N542
#[test]
fn a_thread_with_the_filters_starts_threads_but_no_program() {
    let confined = || {
        assert_eq!(restrict(), None);
        let thread = std::thread::Builder::new().spawn(|| 7).unwrap();
        assert_eq!(thread.join().unwrap(), 7);
        let error = std::process::Command::new("true").spawn().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    };
    let thread = std::thread::Builder::new().spawn(confined).unwrap();
    thread.join().unwrap();
}
