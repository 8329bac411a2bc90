//! A task on this thread that the process can lose. A fault in it must not end the process.

use actix_web::rt::{self, task::JoinHandle};

/// Ends a task together with its owner.
struct EndOnDrop(JoinHandle<()>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins a task on this thread, and never returns. If the task ends by a fault in the program, logs `loss`.
pub(super) async fn run_apart<F>(begin: impl FnOnce() -> F, loss: &'static str)
where
    F: Future<Output = ()> + 'static,
{
    #[expect(
        clippy::disallowed_methods,
        reason = "an HTTP client stays on its thread; the guard ends the task"
    )]
    let mut task = EndOnDrop(rt::spawn(begin()));
    if (&mut task.0).await.is_err() {
        tracing::error!("{loss}");
    }
    std::future::pending::<()>().await;
}
