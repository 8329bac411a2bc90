//! The runtime of the store: serves the commands of the callers on one thread, with the writer and the keeper.

use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{JoinSet, LocalSet};

use super::connection::Connected;
use super::engine::{Engine, EngineStart};
use super::open_error::PostgresOpenError;
use super::writer::{GroupWriter, WriteCall};
use super::{keeper, replica};
use crate::outbox::keyed_digest::DigestKey;

/// The longest time that the close of the store waits for operations in progress.
const CLOSE_MAX: Duration = Duration::from_secs(4);

/// An operation that runs inside the runtime of the store.
pub(super) type EngineOperation =
    Box<dyn FnOnce(Rc<Engine>) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// A command of a caller.
pub(super) enum EngineCommand {
    /// An append or a settlement, for the next group commit.
    Write(WriteCall),
    Run(EngineOperation),
}

/// Serves commands until every sender is dropped, then ends the operations in progress and leaves the store.
pub(super) async fn serve(engine: Rc<Engine>, mut commands: UnboundedReceiver<EngineCommand>) {
    let mut running = JoinSet::new();
    let (writes, queue) = tokio::sync::mpsc::unbounded_channel();
    running.spawn_local(GroupWriter::new(Rc::clone(&engine)).run(queue));
    let mut background = JoinSet::new();
    background.spawn_local(keeper::keep(Rc::clone(&engine)));
    background.spawn_local(keeper::tidy(Rc::clone(&engine)));
    while let Some(command) = commands.recv().await {
        match command {
            EngineCommand::Write(write) => {
                let _writer_is_gone = writes.send(write);
            }
            EngineCommand::Run(operation) => {
                running.spawn_local(operation(Rc::clone(&engine)));
            }
        }
        while running.try_join_next().is_some() {}
    }
    drop(writes);
    background.abort_all();
    let finished = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(CLOSE_MAX, finished).await.is_err() {
        tracing::error!("the database does not answer while the store closes");
        return;
    }
    let registration = engine.registration();
    let left = engine
        .connector
        .transact(&engine.links.acts, async |db: &Connected| {
            replica::leave(db, registration).await
        });
    match tokio::time::timeout(CLOSE_MAX, left).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) | Err(_) => tracing::warn!(
            "the replica is still registered; another replica continues with its customers after the lease has ended"
        ),
    }
}

/// Runs the store on the current thread until it is closed. Sends the digest key, or the reason why the store cannot be
/// opened.
pub(super) fn run(
    start: EngineStart,
    opened: &std::sync::mpsc::Sender<Result<DigestKey, PostgresOpenError>>,
    commands: UnboundedReceiver<EngineCommand>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _caller_is_gone = opened.send(Err(PostgresOpenError::Thread(error)));
            return;
        }
    };
    LocalSet::new().block_on(&runtime, async {
        let (engine, answer) = match Engine::open(start).await {
            Ok(engine) => {
                let key = engine.digest_key;
                (Some(Rc::new(engine)), Ok(key))
            }
            Err(error) => (None, Err(error)),
        };
        let _caller_is_gone = opened.send(answer);
        if let Some(engine) = engine {
            serve(engine, commands).await;
        }
    });
}
