//! Processes in which the library is attacked: forked, watched, and with what they print caught.

use std::backtrace::Backtrace;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::allocator;
use super::board::Board;

/// Seconds without a sign of life after which a child counts as hanging.
pub const PATIENCE: u32 = 300;

pub struct Child {
    pid: libc::pid_t,
    printed: File,
}

/// How a child ended.
pub struct End {
    pub signal: Option<i32>,
    pub code: i32,
    /// On stdout and stderr together.
    pub printed: String,
}

/// Runs `body` in a child. The parent has one thread and has never called the library, so a fork is as good as a start.
/// With `address_space` bytes the child gets no more of it than these beyond what it has.
pub fn start(board: &'static Board, address_space: Option<u64>, body: impl FnOnce(&'static Board)) -> Child {
    let mut printed = tempfile::tempfile().expect("a temporary file");
    board.clear();
    std::io::stdout().flush().expect("stdout");
    // SAFETY: this process has one thread.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "no more processes");
    if pid > 0 {
        return Child { pid, printed };
    }
    // SAFETY: descriptors of this process; handlers that end it.
    unsafe {
        libc::dup2(printed.as_raw_fd(), 1);
        libc::dup2(printed.as_raw_fd(), 2);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        let unlimited = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &unlimited);
        watch_signals();
    }
    std::panic::set_hook(Box::new(|panic| {
        allocator::stop();
        eprintln!("{panic}\n{}", Backtrace::force_capture());
    }));
    if let Some(bytes) = address_space {
        limit(mapped() + bytes);
    }
    alive();
    let outcome = catch_unwind(AssertUnwindSafe(|| body(board)));
    let _ = printed.flush();
    // SAFETY: ends this process, without what the parent wanted at its own exit.
    unsafe { libc::_exit(if outcome.is_ok() { 0 } else { 101 }) }
}

impl Child {
    pub fn wait(mut self) -> End {
        let mut status = 0;
        // SAFETY: a child of this process.
        let waited = unsafe { libc::waitpid(self.pid, &mut status, 0) };
        assert_eq!(waited, self.pid, "the child is this process's own");
        self.end(status)
    }

    /// Ends it, as a power failure would.
    pub fn kill(self) {
        // SAFETY: a child of this process that was not waited for.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        self.wait();
    }

    /// Whether it has ended; then how.
    pub fn poll(mut self) -> Result<End, Self> {
        let mut status = 0;
        // SAFETY: a child of this process.
        match unsafe { libc::waitpid(self.pid, &mut status, libc::WNOHANG) } {
            0 => Err(self),
            _ => Ok(self.end(status)),
        }
    }

    fn end(&mut self, status: i32) -> End {
        let mut bytes = Vec::new();
        self.printed.rewind().and_then(|()| self.printed.read_to_end(&mut bytes)).expect("the child's output");
        let signalled = libc::WIFSIGNALED(status);
        End {
            signal: signalled.then(|| libc::WTERMSIG(status)),
            code: if signalled { -1 } else { libc::WEXITSTATUS(status) },
            printed: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}

/// A sign of life of a child.
pub fn alive() {
    alive_for(PATIENCE);
}

/// A sign of life of a child that gives the next one within so many seconds.
pub fn alive_for(seconds: u32) {
    // SAFETY: no more than an alarm.
    unsafe { libc::alarm(seconds) };
}

pub fn sleep(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

fn mapped() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    pages.expect("/proc tells this process's size") * 4096
}

fn limit(bytes: u64) {
    // SAFETY: numbers for this process.
    unsafe {
        let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::getrlimit(libc::RLIMIT_AS, &mut limits);
        limits.rlim_cur = bytes.min(limits.rlim_max);
        libc::setrlimit(libc::RLIMIT_AS, &limits);
    }
}

const DEADLY: [i32; 6] = [libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGALRM];

/// SAFETY: for a child that has begun.
unsafe fn watch_signals() {
    const STACK: usize = 1 << 20;
    // SAFETY: the stack is never freed; the handler takes a number.
    unsafe {
        let memory: &'static mut [u8] = Box::leak(vec![0u8; STACK].into());
        let stack = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: STACK };
        libc::sigaltstack(&stack, std::ptr::null_mut());
        for signal in DEADLY {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = ended_by as extern "C" fn(i32) as usize;
            // An overflow of the stack leaves none; otherwise the thread's own is larger than what std gives for this.
            action.sa_flags = if matches!(signal, libc::SIGSEGV | libc::SIGBUS) { libc::SA_ONSTACK } else { 0 };
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

/// Tells where the child was, which is worth the risk of doing so in a handler: a second alarm ends that as well.
extern "C" fn ended_by(signal: i32) {
    allocator::stop();
    // SAFETY: default handlers, limits and an alarm for this process.
    unsafe {
        for deadly in DEADLY {
            libc::signal(deadly, libc::SIG_DFL);
        }
        libc::alarm(20);
    }
    limit(u64::MAX);
    eprintln!("signal {signal}\n{}", Backtrace::force_capture());
    // SAFETY: the handler above is no longer there.
    unsafe {
        libc::signal(libc::SIGALRM, libc::SIG_DFL);
        libc::kill(libc::getpid(), signal);
    }
}
