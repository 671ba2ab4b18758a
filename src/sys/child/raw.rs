//! System calls that a process may make between `fork` and `exec`: each is one call (or a few), allocates
//! nothing and takes no lock.

use std::ffi::{CStr, c_char, c_int, c_long, c_ulong};
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};

use rustix::io::Errno;

fn errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

fn checked(result: c_long) -> Result<c_long, Errno> {
    if result < 0 { Err(errno()) } else { Ok(result) }
}

/// Makes a copy of the calling thread in a process of its own, in new namespaces; 0 in the copy. `flags` are
/// those of clone, without any that shares memory.
pub(super) fn fork(flags: c_int) -> Result<libc::pid_t, Errno> {
    let none: c_long = 0;
    // SAFETY: without CLONE_VM the copy has memory of its own and goes on with a copy of this stack. Its callers
    // make no calls there but those of this file and of rustix, until they exec or exit.
    #[allow(unsafe_code)]
    let pid = unsafe { libc::syscall(libc::SYS_clone, c_long::from(flags), none, none, none, none) };
    // Numbers of processes are small.
    checked(pid).map(|pid| pid as libc::pid_t)
}

/// Ends this process, and runs nothing else before that.
pub(super) fn exit(status: c_int) -> ! {
    // SAFETY: it does not return.
    #[allow(unsafe_code)]
    unsafe {
        libc::_exit(status)
    }
}

/// Lists of texts for [`execute`], made before the fork.
#[derive(Debug)]
pub(super) struct Texts {
    /// What the pointers point to.
    _texts: Vec<std::ffi::CString>,
    pointers: Vec<*const c_char>,
}

impl Texts {
    pub(super) fn new(texts: Vec<std::ffi::CString>) -> Self {
        let pointers = texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        Self { _texts: texts, pointers }
    }
}

/// Becomes a program; returns only when that fails.
pub(super) fn execute(program: &CStr, args: &Texts, env: &Texts) -> Errno {
    // SAFETY: both lists end with a null pointer, and all texts end with a NUL and are still there.
    #[allow(unsafe_code)]
    unsafe {
        libc::execve(program.as_ptr(), args.pointers.as_ptr(), env.pointers.as_ptr())
    };
    errno()
}

/// Closes all descriptors but these, which are in ascending order.
pub(super) fn close_all_but(kept: &[RawFd]) {
    let mut first: RawFd = 0;
    for &kept in kept {
        close_range(first, kept - 1);
        first = kept.saturating_add(1).max(first);
    }
    close_range(first, RawFd::MAX);
}

fn close_range(first: RawFd, last: RawFd) {
    /// Kernels that do not know the call have rarely more open.
    const MOST: RawFd = 1 << 16;
    if first > last {
        return;
    }
    let (from, to, flags) = (first as libc::c_uint, last as libc::c_uint, 0 as libc::c_uint);
    // SAFETY: nothing in this process uses the descriptors any more; nothing is dropped in it.
    #[allow(unsafe_code)]
    let closed = unsafe { libc::syscall(libc::SYS_close_range, from, to, flags) };
    if closed < 0 {
        for fd in first..=last.min(MOST) {
            // SAFETY: as above.
            #[allow(unsafe_code)]
            unsafe {
                libc::close(fd)
            };
        }
    }
}

/// A copy of a descriptor with a number of at least `least`, which is closed by exec.
pub(super) fn copy_above(fd: RawFd, least: RawFd) -> Result<RawFd, Errno> {
    // SAFETY: fcntl makes a new descriptor.
    #[allow(unsafe_code)]
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, least) };
    checked(c_long::from(copy)).map(|_| copy)
}

/// Makes `fd` the descriptor with another number, which stays open after exec.
pub(super) fn copy_to(fd: RawFd, number: RawFd) -> Result<(), Errno> {
    // SAFETY: what had the number before belongs to nobody in this process.
    #[allow(unsafe_code)]
    let copied = unsafe { libc::dup2(fd, number) };
    checked(c_long::from(copied)).map(drop)
}

/// A descriptor that is known to be open, and stays so.
pub(super) fn borrowed(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: what is borrowed here are the standard descriptors of the process, sockets to its supervisor and
    // handles that it never closes.
    #[allow(unsafe_code)]
    unsafe {
        BorrowedFd::borrow_raw(fd)
    }
}

/// All signals, or none, are held back from the calling thread; the set before comes back.
pub(super) fn hold_signals(set: Option<&libc::sigset_t>) -> libc::sigset_t {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset fills in the set, and pthread_sigmask the one before; it fails for nothing but an unknown
    // first argument.
    #[allow(unsafe_code)]
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        let wanted = set.map_or(all.as_ptr(), std::ptr::from_ref);
        libc::sigemptyset(before.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, wanted, before.as_mut_ptr());
        before.assume_init()
    }
}

/// All signals do what they do in a new process, and none is held back.
pub(super) fn reset_signals() {
    /// The number of the last one, on all machines but MIPS.
    const LAST: c_int = 64;
    for signal in 1..=LAST {
        // SAFETY: the default is no function of ours. Those that cannot be changed fail, and have it.
        #[allow(unsafe_code)]
        unsafe {
            libc::signal(signal, libc::SIG_DFL)
        };
    }
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset fills in the set.
    #[allow(unsafe_code)]
    let none = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        none.assume_init()
    };
    hold_signals(Some(&none));
}

/// A descriptor that can be read when a child of this process has ended. The signal is held back.
pub(super) fn ends_of_children() -> Result<RawFd, Errno> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset fills in the set.
    #[allow(unsafe_code)]
    let fd = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    checked(c_long::from(fd)).map(|_| fd)
}

/// Waits for a child of any kind: all of them for -1. Gives its number and its status; 0 when it was not to be
/// waited for and none has ended.
pub(super) fn wait(pid: libc::pid_t, is_patient: bool) -> Result<(libc::pid_t, c_int), Errno> {
    let mut status = 0;
    let flags = libc::__WALL | if is_patient { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: there is room for the status.
        #[allow(unsafe_code)]
        let ended = unsafe { libc::waitpid(pid, &raw mut status, flags) };
        match checked(c_long::from(ended)) {
            Ok(_) => return Ok((ended, status)),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Kills a process, or for -1 all that this one may kill, itself excepted.
pub(super) fn kill(pid: libc::pid_t) -> Result<(), Errno> {
    // SAFETY: it changes nothing of this process.
    #[allow(unsafe_code)]
    let killed = unsafe { libc::kill(pid, libc::SIGKILL) };
    checked(c_long::from(killed)).map(drop)
}

/// `prctl` with one argument.
pub(super) fn control(option: c_int, argument: c_ulong) -> Result<(), Errno> {
    let none: c_ulong = 0;
    // SAFETY: the options that are used here take numbers.
    #[allow(unsafe_code)]
    let done = unsafe { libc::prctl(option, argument, none, none, none) };
    checked(c_long::from(done)).map(drop)
}

/// Adds to what is different for programs that expect another machine.
pub(super) fn add_personality(bits: c_ulong) -> Result<(), Errno> {
    /// Asks for the present one.
    const ASK: c_ulong = 0xffff_ffff;
    // SAFETY: it changes how later exec and mmap calls work.
    #[allow(unsafe_code)]
    let (before, set) = unsafe {
        let before = libc::personality(ASK);
        (before, libc::personality(before as c_ulong | bits))
    };
    checked(c_long::from(before))?;
    checked(c_long::from(set)).map(drop)
}

/// Gives this process keys of its own, of which it has none.
pub(super) fn new_session_keys() -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: c_long = 1;
    let unnamed: c_long = 0;
    // SAFETY: a null pointer stands for no name.
    #[allow(unsafe_code)]
    let joined = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, unnamed) };
    match checked(joined) {
        // The kernel has no keys.
        Err(Errno::NOSYS) => Ok(()),
        other => other.map(drop),
    }
}

/// The domain name of a namespace of hosts.
pub(super) fn set_domain_name(name: &[u8]) -> Result<(), Errno> {
    // SAFETY: the length is that of the name.
    #[allow(unsafe_code)]
    let set = unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) };
    checked(c_long::from(set)).map(drop)
}

/// Switches on the interface by which programs of one network reach each other.
pub(super) fn loopback_up() -> Result<(), Errno> {
    // SAFETY: all bytes may be zero.
    #[allow(unsafe_code)]
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = *byte as c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_LOOPBACK | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is filled in as SIOCSIFFLAGS wants it. The descriptor is not open for anything else.
    #[allow(unsafe_code)]
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        checked(c_long::from(socket))?;
        let done = checked(c_long::from(libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const request)));
        libc::close(socket);
        done.map(drop)
    }
}

/// Changes mounts by a handle on them, all that are below included.
pub(super) fn set_mount_flags(mount: BorrowedFd<'_>, flags: u64) -> Result<(), Errno> {
    let attributes =
        libc::mount_attr { attr_set: flags, attr_clr: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 };
    let how = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the empty path stands for the handle; the size is that of the attributes.
    #[allow(unsafe_code)]
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            how,
            &raw const attributes,
            std::mem::size_of_val(&attributes),
        )
    };
    checked(done).map(drop)
}

/// A set of rules for landlock.
#[repr(C)]
struct Rules {
    files: u64,
    network: u64,
    scoped: u64,
}

/// The version of landlock that the kernel has; 0 for none.
pub(super) fn landlock_version() -> c_long {
    const VERSION: libc::c_uint = 1;
    let (nothing, size): (*const Rules, usize) = (std::ptr::null(), 0);
    // SAFETY: with this flag no rules are read.
    #[allow(unsafe_code)]
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, size, VERSION) };
    version.max(0)
}

/// Keeps this process and what it starts from signals and abstract sockets of processes outside, and from
/// looking into these. Landlock of version 6 can.
pub(super) fn keep_to_ourselves() -> Result<(), Errno> {
    const ABSTRACT_SOCKETS: u64 = 1;
    const SIGNALS: u64 = 2;
    let rules = Rules { files: 0, network: 0, scoped: ABSTRACT_SOCKETS | SIGNALS };
    let (size, flags) = (std::mem::size_of_val(&rules), 0 as libc::c_uint);
    // SAFETY: the size is that of the rules. The descriptor is closed by exec.
    #[allow(unsafe_code)]
    unsafe {
        let set = libc::syscall(libc::SYS_landlock_create_ruleset, &raw const rules, size, flags);
        checked(set)?;
        checked(libc::syscall(libc::SYS_landlock_restrict_self, set, flags)).map(drop)
    }
}

/// From now on system calls go through a filter.
pub(super) fn filter(program: &[libc::sock_filter]) -> Result<(), Errno> {
    const MODE_FILTER: libc::c_uint = 1;
    /// Does not slow programs down where the kernel would guard against speculation.
    const SPEC_ALLOW: libc::c_ulong = 4;
    let program = libc::sock_fprog {
        // A filter has fewer than 4096 instructions.
        len: program.len() as libc::c_ushort,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies the program, which is not written to.
    #[allow(unsafe_code)]
    let done = unsafe { libc::syscall(libc::SYS_seccomp, MODE_FILTER, SPEC_ALLOW, &raw const program) };
    checked(done).map(drop)
}
