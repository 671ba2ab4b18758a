//! The same work on all cores.

/// Runs `work` on as many threads as there are cores, `limit` at most, this one
/// among them, and gives the first failure. What there is to do is shared out
/// by `work` itself. Where no thread can be had this one does everything.
///
/// # Errors
/// Those of `work`.
///
/// # Panics
/// When `work` does.
pub fn on_all_cores<E: Send>(limit: usize, work: impl Fn() -> Result<(), E> + Sync) -> Result<(), E> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(limit);
    if cores <= 1 {
        return work();
    }
    std::thread::scope(|scope| {
        let spawn = |_| std::thread::Builder::new().spawn_scoped(scope, &work).ok();
        let others: Vec<_> = (1..cores).filter_map(spawn).collect();
        let mut result = work();
        for other in others {
            match other.join() {
                Ok(outcome) => result = result.and(outcome),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        result
    })
}
