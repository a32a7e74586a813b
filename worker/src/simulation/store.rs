//! The store of the claims, which may fail, or do what it is asked and lose its answer.

use std::{borrow::Cow, sync::Arc};

use async_trait::async_trait;
use domain::{
    claims::{
        Announced, Claim, ClaimStore, Completion, GivenBack, History, Lease, Owner, Sending,
        Subject, adapter,
    },
    fault::{Fault, Reason},
};
use engine::memory::MemoryClaims;

use super::{
    world::{Store, World},
    *,
};

/// A store behind a network.
pub(super) struct DistantStore {
    pub(super) world: Arc<World>,
    pub(super) store: MemoryClaims,
}

fn fault() -> Fault {
    Fault::transient(Reason::DedupeUnavailable, "away")
}

impl DistantStore {
    /// Whether the request arrives at the store.
    async fn arrives(&self) -> Result<(), Fault> {
        tokio::time::sleep(Duration::from_millis(self.world.below(20))).await;
        if *self.world.store.lock() == Store::Fails { Err(fault()) } else { Ok(()) }
    }

    /// Whether the answer of the store arrives.
    fn is_answered(&self) -> Result<(), Fault> {
        if *self.world.store.lock() == Store::LosesReplies { Err(fault()) } else { Ok(()) }
    }
}

fn short(claim: &Claim) -> String {
    match claim {
        Claim::Fresh(lease) => format!("granted with fence {}", lease.fence()),
        other => format!("{other:?}"),
    }
}

#[async_trait]
impl ClaimStore for DistantStore {
    async fn claim(&self, subject: &Subject, owner: Owner) -> Result<Claim, Fault> {
        self.arrives().await?;
        let claim = self.store.claim(subject, owner).await?;
        let claim = match claim {
            Claim::Busy(_) | Claim::Done if self.world.planted == Some(Planted::NoFence) => {
                Claim::Fresh(adapter::lease(subject.clone(), owner, 1, History::default()))
            }
            claim => claim,
        };
        // Somebody else has it, which is told where that began.
        if !matches!(claim, Claim::Busy(_)) {
            self.world.tell(|| format!("claim on {}: {}", subject.event_id(), short(&claim)));
        }
        self.is_answered().map(|()| claim)
    }

    async fn sending(&self, lease: Lease) -> Result<Announced, (Lease, Fault)> {
        if let Err(fault) = self.arrives().await {
            return Err((lease, fault));
        }
        let announced = match self.world.planted {
            Some(Planted::NoFence) => Announced::Sending(adapter::sending(lease)),
            _ => self.store.sending(lease).await?,
        };
        if let (Some(Planted::CompleteEarly), Announced::Sending(sending)) =
            (self.world.planted, &announced)
        {
            self.store.complete(sending, "").await.expect("answers");
        }
        match (self.is_answered(), announced) {
            (Err(fault), Announced::Sending(sending)) => Err((sending.nothing_was_sent(), fault)),
            // An answer that takes the lease away cannot be unheard here.
            (_, announced) => Ok(announced),
        }
    }

    async fn complete(&self, sending: &Sending, receipt: &str) -> Result<Completion, Fault> {
        self.arrives().await?;
        let completion = self.store.complete(sending, receipt).await?;
        self.world.tell(|| format!("completed {}: {completion:?}", sending.lease().event_id()));
        self.is_answered().map(|()| completion)
    }

    async fn release(&self, lease: Lease, then: &GivenBack) -> Result<(), Fault> {
        self.arrives().await?;
        self.store.release(lease, then).await?;
        self.is_answered()
    }

    async fn doubt(&self, sending: Sending, then: &GivenBack) -> Result<(), Fault> {
        self.arrives().await?;
        self.store.doubt(sending, then).await?;
        self.is_answered()
    }

    async fn withdraw(&self, subject: &Subject) -> Result<(), Fault> {
        self.arrives().await?;
        self.store.withdraw(subject).await
    }

    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        Ok(())
    }
}
