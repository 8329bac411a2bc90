//! The system calls that the process cannot use: seccomp filters that answer with an error.
//!
//! The list names calls that change the machine, load code, start programs, reach into other processes, or that often
//! had flaws in the kernel. A filter does not end the process, because a library possibly tries a call and has another
//! way. Only a call of another kind of processor, which the bridge never makes, ends the process.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter, sock_filter,
};

use super::{ConfinementGap, GapKind};

/// The calls that the process cannot use with any arguments.
const REFUSED: &[i64] = &[
    // Programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes, and keys of the kernel.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    // Files by handle, and mounts.
    libc::SYS_open_by_handle_at,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_fanotify_init,
    // Namespaces.
    libc::SYS_setns,
    libc::SYS_unshare,
    // Code in the kernel.
    libc::SYS_bpf,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    // Interfaces of the kernel that had many flaws.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_vhangup,
    libc::SYS_personality,
    // The machine.
    libc::SYS_acct,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
];

/// More calls that the process cannot use, which only this processor has.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[
    libc::SYS_kexec_file_load,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS__sysctl,
];
/// The call `kexec_file_load`, which not every C library names on this processor.
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[294];

/// The flags of `clone` that create namespaces. A new thread needs none of them.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// The requests of `ioctl` that type into the terminal of the process. A shell would execute this text after the
/// process ends.
const TYPING: [u64; 2] = [0x5412, 0x541C];

/// The kinds of sockets that the process cannot create: sockets of the cryptography interface of the kernel, of the
/// host of a virtual machine, and of raw network packets.
const SOCKETS: [i32; 3] = [libc::AF_ALG, libc::AF_VSOCK, libc::AF_PACKET];

/// The processor of this program, or `None` if the filter library does not know the processor.
const PROCESSOR: Option<TargetArch> = if cfg!(target_arch = "x86_64") {
    Some(TargetArch::x86_64)
} else if cfg!(target_arch = "aarch64") {
    Some(TargetArch::aarch64)
} else {
    None
};

/// Refuses the system calls to this thread. Returns the gap if the kernel does not accept the filters.
pub(super) fn restrict() -> Option<ConfinementGap> {
    let gap = |reason: String| ConfinementGap {
        kind: GapKind::SystemCalls,
        reason,
    };
    let filters = match filters() {
        Ok(filters) => filters,
        Err(error) => return Some(gap(error.to_string())),
    };
    if filters.is_empty() {
        return Some(gap("the bridge has no filter for this processor".to_owned()));
    }
    let refused = filters.iter().find_map(|filter| apply_filter(filter).err());
    refused.map(|error| gap(format!("the kernel refuses the filter: {error}")))
}

/// Returns the filters, or no filter if the filter library does not know the processor.
fn filters() -> Result<Vec<BpfProgram>, BackendError> {
    let Some(processor) = PROCESSOR else {
        return Ok(Vec::new());
    };
    let filter = |rules, errno: i32| -> Result<BpfProgram, BackendError> {
        let errno = SeccompAction::Errno(errno.unsigned_abs());
        SeccompFilter::new(rules, SeccompAction::Allow, errno, processor)?.try_into()
    };
    // A filter cannot read the flags of `clone3`. Without `clone3`, the C library uses `clone`.
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let mut filters = vec![
        filter(refused()?, libc::EPERM)?,
        filter(clone3, libc::ENOSYS)?,
    ];
    if cfg!(target_arch = "x86_64") {
        filters.push(without_second_interface());
    }
    Ok(filters)
}

/// Returns the refused calls, each with the arguments with which it is refused. Without arguments, the call is always
/// refused.
fn refused() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let always = REFUSED.iter().chain(REFUSED_HERE);
    let mut rules: BTreeMap<_, _> = always.map(|call| (*call, Vec::new())).collect();
    let namespaces = NAMESPACES.map(|flag| {
        let flag = u64::from(flag.unsigned_abs());
        rule(0, SeccompCmpOp::MaskedEq(flag), flag)
    });
    let typing = TYPING.map(|request| rule(1, SeccompCmpOp::Eq, request));
    let sockets = SOCKETS.map(|kind| rule(0, SeccompCmpOp::Eq, u64::from(kind.unsigned_abs())));
    rules.insert(
        libc::SYS_clone,
        namespaces.into_iter().collect::<Result<_, _>>()?,
    );
    rules.insert(
        libc::SYS_ioctl,
        typing.into_iter().collect::<Result<_, _>>()?,
    );
    rules.insert(
        libc::SYS_socket,
        sockets.into_iter().collect::<Result<_, _>>()?,
    );
    Ok(rules)
}

/// Creates a rule about the lower 32 bits of an argument. The kernel ignores the upper bits of these arguments.
fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    let length = SeccompCmpArgLen::Dword;
    SeccompRule::new(vec![SeccompCondition::new(
        argument, length, operator, value,
    )?])
}

/// The bit in the number of a system call of the interface x32. A kernel for x86-64 possibly has this second interface,
/// with other numbers for the same calls.
const X32_BIT: u32 = 0x4000_0000;

/// Returns a filter that refuses all system calls of the interface x32.
///
/// The program of the filter has three instructions: load the number of the call, jump if it has the bit, return.
fn without_second_interface() -> BpfProgram {
    let instruction = |code: u32, jt, jf, k| sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt,
        jf,
        k,
    };
    let unknown = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    vec![
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, X32_BIT),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, unknown),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

#[cfg(test)]
mod tests;
