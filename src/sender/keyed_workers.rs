//! Work done side by side, and yet in order for everyone: items of one key go through one lane, one after the other.
//!
//! A key always falls on the same lane (by its hash), so nothing has to be remembered of keys that went through, and
//! what is held is bounded by the lanes and their room. The price: keys that share a lane wait for each other, and a
//! full lane holds up the one who fills them.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use anyhow::anyhow;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How many items wait in a lane: enough that a lane is not idle while the next item is on its way.
const ROOM: usize = 4;

/// Open lanes. Must be made and used inside a `LocalSet`, which an actix system is.
#[derive(Debug)]
pub(crate) struct KeyedWorkers<T> {
    doors: Vec<mpsc::Sender<T>>,
    workers: JoinSet<()>,
}

impl<T: 'static> KeyedWorkers<T> {
    /// Opens so many lanes (one at least), each doing one `work` at a time.
    pub(crate) fn open<W, F>(count: usize, work: W) -> Self
    where
        W: Fn(T) -> F + Clone + 'static,
        F: Future<Output = ()> + 'static,
    {
        let mut lanes = Self {
            doors: Vec::new(),
            workers: JoinSet::new(),
        };
        for _ in 0..count.max(1) {
            let (door, items) = mpsc::channel(ROOM);
            lanes.doors.push(door);
            lanes.workers.spawn_local(walk(items, work.clone()));
        }
        lanes
    }

    /// Puts an item into the lane of its key, once there is room. Items without a key share a lane.
    pub(crate) async fn put(&self, key: Option<&str>, item: T) -> anyhow::Result<()> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let lanes = u64::try_from(self.doors.len()).unwrap_or(u64::MAX);
        let lane = usize::try_from(hasher.finish() % lanes).unwrap_or(0);
        let door = self.doors.get(lane).ok_or_else(|| anyhow!("no lane"))?;
        door.send(item)
            .await
            .map_err(|_closed| anyhow!("a lane ended before its work"))
    }

    /// Waits until everything that was put in is done.
    pub(crate) async fn finish(mut self) -> anyhow::Result<()> {
        self.doors.clear();
        while let Some(ended) = self.workers.join_next().await {
            ended.map_err(|_panic| anyhow!("the work of a lane panicked"))?;
        }
        Ok(())
    }
}

async fn walk<T, F: Future<Output = ()>>(mut items: mpsc::Receiver<T>, work: impl Fn(T) -> F) {
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
    fn items_of_one_key_keep_their_order_and_others_overtake() {
        let done = Rc::new(RefCell::new(Vec::new()));
        let log = Rc::clone(&done);
        block_on(async move {
            let lanes = KeyedWorkers::open(64, move |item| slowly_at_first(Rc::clone(&log), item));
            let items = (0..10).flat_map(|number| [("a", number), ("b", number)]);
            for item in items {
                lanes.put(Some(item.0), item).await.unwrap();
            }
            lanes.put(Some("c"), ("c", 10)).await.unwrap();
            lanes.finish().await.unwrap();
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
    fn a_panic_in_a_lane_is_told() {
        let ended = block_on(async {
            let lanes = KeyedWorkers::open(1, |(): ()| async { panic!("as asked") });
            lanes.put(None, ()).await.unwrap();
            lanes.finish().await
        });
        assert!(ended.is_err());
    }
}
