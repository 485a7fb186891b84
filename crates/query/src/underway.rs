//! Queries that others run: they end with whoever waits for them.

use futures::future::{BoxFuture, FutureExt as _};
use tokio::runtime::Handle;

/// A query that is ended where it runs, unless it is over, when nobody waits for it any more: also when the word of it was lost.
pub struct Underway(Option<BoxFuture<'static, ()>>);

impl Underway {
    /// One that `end` ends. It goes on by itself on the runtime of whoever has let the query go.
    pub fn new(end: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Some(end.boxed()))
    }

    /// There is nothing to end any more.
    pub fn is_over(&mut self) {
        self.0 = None;
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if let (Some(end), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_nobody_waits_for_is_ended_unless_it_is_over() {
        for is_over in [false, true] {
            let (tell, told) = oneshot::channel();
            let mut query = Underway::new(async { tell.send(()).unwrap() });
            if is_over {
                query.is_over();
            }
            drop(query);
            assert_eq!(told.await.is_err(), is_over);
        }
    }
}
