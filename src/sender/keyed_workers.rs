//! Workers that process the items of one key one after another, and the items of different keys at the same time.
//!
//! A hash of the key chooses the worker, and each worker processes one item at a time. Each worker has a queue of
//! limited length, so the memory is bounded. This design has two disadvantages: if two keys have the same worker, their
//! items wait for each other, and the caller waits while the queue of a worker is full.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use anyhow::anyhow;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// The length of a worker's queue. With this length, a worker rarely waits for its next item.
const QUEUE_MAX: usize = 4;

/// The running workers. The caller must start and use the workers inside a `LocalSet`, which every actix system has.
#[derive(Debug)]
pub(crate) struct KeyedWorkers<T> {
    queues: Vec<mpsc::Sender<T>>,
    workers: JoinSet<()>,
}

impl<T: 'static> KeyedWorkers<T> {
    /// Starts `count` workers, at least one worker. Each worker calls `work` for one item at a time.
    pub(crate) fn start<W, F>(count: usize, work: W) -> Self
    where
        W: Fn(T) -> F + Clone + 'static,
        F: Future<Output = ()> + 'static,
    {
        let mut started = Self {
            queues: Vec::new(),
            workers: JoinSet::new(),
        };
        for _ in 0..count.max(1) {
            let (queue, items) = mpsc::channel(QUEUE_MAX);
            started.queues.push(queue);
            started.workers.spawn_local(process(items, work.clone()));
        }
        started
    }

    /// Waits for room in the queue of the key's worker, and adds the item. All items without a key have the same
    /// worker.
    pub(crate) async fn submit(&self, key: Option<&str>, item: T) -> anyhow::Result<()> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let count = u64::try_from(self.queues.len()).unwrap_or(u64::MAX);
        let worker = usize::try_from(hasher.finish() % count).unwrap_or(0);
        let queue = self.queues.get(worker);
        let queue = queue.ok_or_else(|| anyhow!("no worker"))?;
        queue
            .send(item)
            .await
            .map_err(|_closed| anyhow!("a worker ended before its work was done"))
    }

    /// Waits until the workers have processed every submitted item.
    pub(crate) async fn finish(mut self) -> anyhow::Result<()> {
        self.queues.clear();
        while let Some(ended) = self.workers.join_next().await {
            ended.map_err(|_panic| anyhow!("a worker panicked"))?;
        }
        Ok(())
    }
}

async fn process<T, F: Future<Output = ()>>(mut items: mpsc::Receiver<T>, work: impl Fn(T) -> F) {
    while let Some(item) = items.recv().await {
        work(item).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, future)
    }

    type Item = (&'static str, u32);

    async fn slowly_at_first(log: Rc<RefCell<Vec<Item>>>, item: Item) {
        for _ in 0..100_u32.saturating_sub(item.1 * 10) {
            tokio::task::yield_now().await;
        }
        log.borrow_mut().push(item);
    }

    #[test]
    fn items_of_one_key_stay_in_order_and_others_overtake() {
        let done = Rc::new(RefCell::new(Vec::new()));
        let log = Rc::clone(&done);
        block_on(async move {
            let workers =
                KeyedWorkers::start(64, move |item| slowly_at_first(Rc::clone(&log), item));
            let items = (0..10).flat_map(|number| [("a", number), ("b", number)]);
            for item in items {
                workers.submit(Some(item.0), item).await.unwrap();
            }
            workers.submit(Some("c"), ("c", 10)).await.unwrap();
            workers.finish().await.unwrap();
        });
        let done = done.borrow();
        for key in ["a", "b"] {
            let order: Vec<u32> = done
                .iter()
                .filter(|item| item.0 == key)
                .map(|item| item.1)
                .collect();
            assert_eq!(order, (0..10).collect::<Vec<_>>());
        }
        assert!(done.iter().position(|item| item.0 == "c") < Some(20));
    }

    #[test]
    fn a_panic_of_a_worker_is_reported() {
        let ended = block_on(async {
            let workers = KeyedWorkers::start(1, |(): ()| async { panic!("on purpose") });
            workers.submit(None, ()).await.unwrap();
            workers.finish().await
        });
        assert!(ended.is_err());
    }
}
