//! The digests of a run as a Merkle tree that is read from the root down.
//!
//! Entries are sorted by key and cut into nodes where the hash of a key says so, on every level by other bits of it. So where nodes end depends on
//! the keys alone: a run in which a file was added, removed or changed has other nodes on the way from that file to the root, and the same
//! everywhere else, whatever stands before it. Comparing two trees skips what has one digest on both sides.
//!
//! A tree is one sequence of bytes, nodes before their parents and the root's place at the end, so that a reader fetches a few ranges of a large
//! object. Digests say what is in a node and not where it stands.

use std::collections::VecDeque;

use blake2::{Blake2b, Digest as _, digest::consts::U32};

use crate::Digest;

/// Name and version of the form.
pub const FORM: &[u8; 16] = b"bytefacts.tree.1";

/// Bits of a key's hash that end a node on a level when they are all zero: nodes have 32 entries on average.
const BITS: u32 = 5;
/// Levels that 64 bits of hash are enough for.
const MOST_LEVELS: u32 = 12;
/// Size of the end of a tree: place, length and digest of the root, and the name of the form.
pub const FOOTER: usize = 8 + 4 + 32 + 16;

/// A key and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What entries are sorted by.
    pub key: Vec<u8>,
    /// The rest.
    pub value: Vec<u8>,
}

/// Where a node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRef {
    /// The first key below it; empty for a root.
    first_key: Vec<u8>,
    /// Its first byte.
    pub offset: u64,
    /// Its length.
    pub length: u32,
    /// Digest of all below it.
    pub digest: Digest,
    /// 0 for a node of entries.
    level: u8,
}

/// Why a tree cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TreeError {
    /// It is damaged, or no tree.
    #[error("the tree of digests is damaged: {0}")]
    Damaged(&'static str),
    /// Whoever fetches nodes failed.
    #[error("{0}")]
    Fetch(String),
    /// Entries were not given in order.
    #[error("entries are not in order of their keys")]
    Unsorted,
}

/// Builds a tree from entries in order of their keys.
#[derive(Debug, Default)]
pub struct TreeBuilder {
    out: Vec<u8>,
    /// Of each level the node in the making.
    open: Vec<OpenNode>,
    last_key: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct OpenNode {
    count: u32,
    /// As it is written.
    bytes: Vec<u8>,
    hash: Blake2b<U32>,
    first_key: Vec<u8>,
    last_child: Option<NodeRef>,
}

impl TreeBuilder {
    /// Appends an entry.
    ///
    /// # Errors
    /// [`TreeError::Unsorted`] if its key is not behind the last one.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), TreeError> {
        if self.last_key.as_deref().is_some_and(|last| last >= key) {
            return Err(TreeError::Unsorted);
        }
        let node = self.level(0);
        if node.count == 0 {
            node.first_key = key.to_vec();
        }
        for part in [key, value] {
            write_block(&mut node.bytes, part);
            hash_block(&mut node.hash, part);
        }
        node.count += 1;
        self.last_key = Some(key.to_vec());
        for level in 0..levels_ended_by(key) {
            self.close(level as usize);
        }
        Ok(())
    }

    /// The bytes of the tree.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        if self.last_key.is_none() {
            let empty = OpenNode::default();
            let root = self.write(&empty, 0);
            return self.ended(&root);
        }
        // Upwards, until a level has one node and none stands above it: that node is the root.
        let mut level = 0;
        loop {
            self.close(level);
            level += 1;
            let is_top = self.open.iter().skip(level + 1).all(|node| node.count == 0);
            let above = self.level(level);
            if let (1, true, Some(root)) = (above.count, is_top, above.last_child.take()) {
                return self.ended(&root);
            }
        }
    }

    fn ended(mut self, root: &NodeRef) -> Vec<u8> {
        self.out.extend(root.offset.to_le_bytes());
        self.out.extend(root.length.to_le_bytes());
        self.out.extend(root.digest);
        self.out.extend(FORM);
        self.out
    }

    fn level(&mut self, level: usize) -> &mut OpenNode {
        if self.open.len() <= level {
            self.open.resize_with(level + 1, OpenNode::default);
        }
        &mut self.open[level]
    }

    /// Writes the open node of a level and names it in the one above.
    fn close(&mut self, level: usize) {
        let node = std::mem::take(self.level(level));
        if node.count == 0 {
            return;
        }
        let written = self.write(&node, u8::try_from(level).unwrap_or(u8::MAX));
        let above = self.level(level + 1);
        if above.count == 0 {
            above.first_key.clone_from(&node.first_key);
        }
        above.count += 1;
        write_block(&mut above.bytes, &node.first_key);
        above.bytes.extend(written.offset.to_le_bytes());
        above.bytes.extend(written.length.to_le_bytes());
        above.bytes.extend(written.digest);
        hash_block(&mut above.hash, &node.first_key);
        above.hash.update(written.digest);
        above.last_child = Some(written);
    }

    fn write(&mut self, node: &OpenNode, level: u8) -> NodeRef {
        let mut hash = Blake2b::<U32>::new();
        hash.update(FORM);
        hash.update([level]);
        hash.update(node.hash.clone().finalize());
        let offset = self.out.len() as u64;
        self.out.push(level);
        self.out.extend(node.count.to_le_bytes());
        self.out.extend(&node.bytes);
        let length = u32::try_from(self.out.len() as u64 - offset).unwrap_or(u32::MAX);
        NodeRef { first_key: node.first_key.clone(), offset, length, digest: hash.finalize().into(), level }
    }
}

/// How many levels, from the lowest, a key ends a node of.
fn levels_ended_by(key: &[u8]) -> u32 {
    let digest: Digest = Blake2b::<U32>::digest(key).into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]).trailing_zeros() / BITS).min(MOST_LEVELS)
}

fn hash_block(hash: &mut Blake2b<U32>, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

fn write_block(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(bytes);
}

/// The root that the last [`FOOTER`] bytes of a tree name.
///
/// # Errors
/// If they are no end of a tree.
pub fn root(footer: &[u8]) -> Result<NodeRef, TreeError> {
    let mut reader = Reader { bytes: footer };
    let (offset, length, digest) = (reader.u64()?, reader.u32()?, reader.digest()?);
    if reader.bytes != FORM {
        return Err(TreeError::Damaged("it does not end as a tree does"));
    }
    // The level stands in the node itself.
    Ok(NodeRef { first_key: Vec::new(), offset, length, digest, level: u8::MAX })
}

/// What a node holds.
#[derive(Debug)]
enum Node {
    Entries(Vec<Entry>),
    Children(Vec<NodeRef>),
}

impl Node {
    fn read(bytes: &[u8], expected: &NodeRef) -> Result<Self, TreeError> {
        let mut reader = Reader { bytes };
        let level = reader.u8()?;
        let count = reader.u32()?;
        let mut hash = Blake2b::<U32>::new();
        let node = if level == 0 {
            let mut entries = Vec::new();
            for _ in 0..count {
                let (key, value) = (reader.block()?, reader.block()?);
                for part in [key, value] {
                    hash_block(&mut hash, part);
                }
                entries.push(Entry { key: key.to_vec(), value: value.to_vec() });
            }
            Self::Entries(entries)
        } else {
            let mut children = Vec::new();
            for _ in 0..count {
                let first_key = reader.block()?;
                let (offset, length, digest) = (reader.u64()?, reader.u32()?, reader.digest()?);
                hash_block(&mut hash, first_key);
                hash.update(digest);
                children.push(NodeRef { first_key: first_key.to_vec(), offset, length, digest, level: level - 1 });
            }
            Self::Children(children)
        };
        let mut whole = Blake2b::<U32>::new();
        whole.update(FORM);
        whole.update([level]);
        whole.update(hash.finalize());
        if !reader.bytes.is_empty() || Digest::from(whole.finalize()) != expected.digest {
            return Err(TreeError::Damaged("a node is not the one that its parent names"));
        }
        Ok(node)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], TreeError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(TreeError::Damaged("it ends too early"))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TreeError> {
        self.take(N)?.try_into().map_err(|_| TreeError::Damaged("it ends too early"))
    }

    fn u8(&mut self) -> Result<u8, TreeError> {
        self.array().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, TreeError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, TreeError> {
        self.array().map(u64::from_le_bytes)
    }

    fn digest(&mut self) -> Result<Digest, TreeError> {
        self.array()
    }

    fn block(&mut self) -> Result<&'a [u8], TreeError> {
        let length = self.u32()? as usize;
        self.take(length)
    }
}

/// Whoever fetches the bytes of nodes.
pub trait Nodes {
    /// The bytes of a tree from `offset`.
    fn fetch(&self, offset: u64, length: u32) -> impl Future<Output = Result<bytes::Bytes, String>> + Send;
    /// The last bytes of a tree.
    fn footer(&self) -> impl Future<Output = Result<bytes::Bytes, String>> + Send;
}

/// A tree that is held in memory.
impl Nodes for bytes::Bytes {
    async fn fetch(&self, offset: u64, length: u32) -> Result<bytes::Bytes, String> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(length as usize);
        if end > self.len() { Err("the tree of digests ends too early".to_owned()) } else { Ok(self.slice(start..end)) }
    }

    async fn footer(&self) -> Result<bytes::Bytes, String> {
        Ok(self.slice(self.len().saturating_sub(FOOTER)..))
    }
}

/// What was read for an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Cost {
    /// Nodes fetched.
    pub nodes: u64,
    /// Digests in them.
    pub digests: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// An entry that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value on the left, if it is there.
    pub left: Option<Vec<u8>>,
    /// Its value on the right, if it is there.
    pub right: Option<Vec<u8>>,
}

/// What differs between two trees, in order of the keys.
///
/// # Errors
/// If a tree is damaged or cannot be fetched.
pub async fn compare<L: Nodes + Sync, R: Nodes + Sync>(left: &L, right: &R) -> Result<(Vec<Changed>, Cost), TreeError> {
    let mut cost = Cost::default();
    let mut changed = Vec::new();
    let roots = (root(&left.footer().await.map_err(TreeError::Fetch)?)?, root(&right.footer().await.map_err(TreeError::Fetch)?)?);
    cost.digests += 2;
    let (mut lefts, mut rights) = (VecDeque::from([Item::Node(roots.0)]), VecDeque::from([Item::Node(roots.1)]));
    loop {
        match (lefts.front(), rights.front()) {
            (None, None) => return Ok((changed, cost)),
            (Some(Item::Node(one)), Some(Item::Node(other))) if one.digest == other.digest => {
                lefts.pop_front();
                rights.pop_front();
            }
            (Some(Item::Node(one)), Some(Item::Node(other))) => {
                // The higher one is opened; both of one height.
                let (open_left, open_right) = (one.level >= other.level, other.level >= one.level);
                if open_left {
                    open(left, &mut lefts, &mut cost).await?;
                }
                if open_right {
                    open(right, &mut rights, &mut cost).await?;
                }
            }
            (Some(Item::Node(_)), _) => open(left, &mut lefts, &mut cost).await?,
            (_, Some(Item::Node(_))) => open(right, &mut rights, &mut cost).await?,
            (Some(Item::Entry(one)), Some(Item::Entry(other))) => {
                let order = one.key.cmp(&other.key);
                let (one, other) =
                    (order.is_le().then(|| pop_entry(&mut lefts)).flatten(), order.is_ge().then(|| pop_entry(&mut rights)).flatten());
                push_changed(&mut changed, one, other);
            }
            (Some(Item::Entry(_)), None) => push_changed(&mut changed, pop_entry(&mut lefts), None),
            (None, Some(Item::Entry(_))) => push_changed(&mut changed, None, pop_entry(&mut rights)),
        }
    }
}

/// The entries whose keys begin with `prefix`, at most `limit` of them.
///
/// # Errors
/// If the tree is damaged or cannot be fetched.
pub async fn find<T: Nodes + Sync>(tree: &T, prefix: &[u8], limit: usize) -> Result<(Vec<Entry>, Cost), TreeError> {
    let mut cost = Cost::default();
    let mut found = Vec::new();
    let mut items = VecDeque::from([Item::Node(root(&tree.footer().await.map_err(TreeError::Fetch)?)?)]);
    loop {
        // A node before another one that begins before the prefix holds nothing of it.
        while let (Some(Item::Node(_)), Some(Item::Node(next))) = (items.front(), items.get(1))
            && next.first_key.as_slice() <= prefix
            && !prefix.is_empty()
        {
            items.pop_front();
        }
        let Some(item) = items.front() else { break };
        match item {
            Item::Entry(entry) if entry.key.starts_with(prefix) && found.len() < limit => found.extend(pop_entry(&mut items)),
            Item::Entry(entry) if entry.key.as_slice() < prefix => {
                items.pop_front();
            }
            Item::Entry(_) => break,
            Item::Node(_) => open(tree, &mut items, &mut cost).await?,
        }
    }
    Ok((found, cost))
}

/// All entries, in order.
///
/// # Errors
/// If the tree is damaged or cannot be fetched.
pub async fn entries<T: Nodes + Sync>(tree: &T) -> Result<Vec<Entry>, TreeError> {
    Ok(find(tree, b"", usize::MAX).await?.0)
}

#[derive(Debug)]
enum Item {
    Node(NodeRef),
    Entry(Entry),
}

fn pop_entry(items: &mut VecDeque<Item>) -> Option<Entry> {
    match items.pop_front() {
        Some(Item::Entry(entry)) => Some(entry),
        _ => None,
    }
}

fn push_changed(changed: &mut Vec<Changed>, left: Option<Entry>, right: Option<Entry>) {
    if left == right {
        return;
    }
    let key = left.as_ref().or(right.as_ref()).map(|entry| entry.key.clone()).unwrap_or_default();
    changed.push(Changed { key, left: left.map(|entry| entry.value), right: right.map(|entry| entry.value) });
}

/// Puts what is in the first node in its place.
async fn open<T: Nodes + Sync>(tree: &T, items: &mut VecDeque<Item>, cost: &mut Cost) -> Result<(), TreeError> {
    let Some(Item::Node(node)) = items.pop_front() else { return Ok(()) };
    let bytes = tree.fetch(node.offset, node.length).await.map_err(TreeError::Fetch)?;
    cost.nodes += 1;
    cost.bytes += bytes.len() as u64;
    match Node::read(&bytes, &node)? {
        Node::Entries(entries) => {
            cost.digests += entries.len() as u64;
            for entry in entries.into_iter().rev() {
                items.push_front(Item::Entry(entry));
            }
        }
        Node::Children(children) => {
            cost.digests += children.len() as u64;
            for child in children.into_iter().rev() {
                items.push_front(Item::Node(child));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn tree(entries: &BTreeMap<Vec<u8>, Vec<u8>>) -> Bytes {
        let mut builder = TreeBuilder::default();
        for (key, value) in entries {
            builder.push(key, value).unwrap();
        }
        builder.finish().into()
    }

    fn numbered(n: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
        (0..n).map(|n| (format!("pkg{:03}/module_{n}.py", n % 97).into_bytes(), n.to_le_bytes().to_vec())).collect()
    }

    /// What a comparison of all entries would say.
    fn expected(left: &BTreeMap<Vec<u8>, Vec<u8>>, right: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<Changed> {
        let keys: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
        let both = keys.into_iter().map(|key| Changed { key: key.clone(), left: left.get(key).cloned(), right: right.get(key).cloned() });
        both.filter(|changed| changed.left != changed.right).collect()
    }

    #[tokio::test]
    async fn the_digests_read_grow_with_the_changes_and_the_height_alone() {
        let mut per_change = Vec::new();
        for n in [1_000, 10_000, 100_000] {
            let left = numbered(n);
            let mut right = left.clone();
            let keys: Vec<_> = left.keys().cloned().collect();
            // Changed, removed, added: some of each, far apart.
            for k in 0..4 {
                right.insert(keys[k * n / 5].clone(), b"changed".to_vec());
                right.remove(&keys[k * n / 5 + n / 11]);
                right.insert([&keys[k * n / 5 + n / 7][..], b"x"].concat(), b"added".to_vec());
            }
            let (changed, cost) = compare(&tree(&left), &tree(&right)).await.unwrap();
            assert_eq!(changed, expected(&left, &right));
            assert_eq!(changed.len(), 12);
            let height = (n as f64).log(32.0).ceil() as u64 + 1;
            // Two trees, nodes of 32 on average and a few times that at worst.
            let bound = 2 * 12 * 32 * 4 * height;
            assert!(cost.digests <= bound, "{n}: {cost:?}, more than {bound}");
            per_change.push(cost.digests);
        }
        assert!(per_change[2] < 4 * per_change[0], "a hundred times the files, hardly more digests: {per_change:?}");
        let same = tree(&numbered(100_000));
        assert_eq!(compare(&same, &same).await.unwrap().1, Cost { digests: 2, ..Cost::default() });
    }

    #[tokio::test]
    async fn what_stands_under_a_prefix_is_found_without_reading_the_rest() {
        let entries = numbered(50_000);
        let tree = tree(&entries);
        for prefix in ["pkg050/module_50.py", "pkg000/", "pkg096/module_9", "zzz", "a"] {
            let (found, cost) = find(&tree, prefix.as_bytes(), 1_000).await.unwrap();
            let expected: Vec<_> = entries.keys().filter(|key| key.starts_with(prefix.as_bytes())).take(1_000).cloned().collect();
            assert_eq!(found.into_iter().map(|entry| entry.key).collect::<Vec<_>>(), expected);
            assert!(cost.digests < 5_000, "{prefix}: {cost:?}");
        }
        assert_eq!(super::entries(&tree).await.unwrap().len(), 50_000);
    }

    #[tokio::test]
    async fn damage_is_found_wherever_it_is_read() {
        let good = tree(&numbered(300));
        let other = tree(&BTreeMap::new());
        assert_eq!(compare(&good, &other).await.unwrap().0.len(), 300);
        for at in (0..good.len()).step_by(11) {
            let mut bad = good.to_vec();
            bad[at] ^= 1;
            assert!(compare(&Bytes::from(bad), &other).await.is_err(), "byte {at}");
        }
        for length in [0, 10, FOOTER - 1, FOOTER, good.len() - 1] {
            assert!(compare(&good.slice(..length), &other).await.is_err(), "{length} bytes");
        }
    }

    #[test]
    fn entries_out_of_order_are_refused() {
        let mut builder = TreeBuilder::default();
        builder.push(b"b", b"").unwrap();
        assert_eq!(builder.push(b"a", b""), Err(TreeError::Unsorted));
        assert_eq!(builder.push(b"b", b""), Err(TreeError::Unsorted));
    }

    fn maps() -> impl Strategy<Value = BTreeMap<Vec<u8>, Vec<u8>>> {
        prop::collection::btree_map(prop::collection::vec(any::<u8>(), 0..3), prop::collection::vec(any::<u8>(), 0..2), 0..400)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn any_two_trees_differ_in_what_their_entries_do(left in maps(), right in maps()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (changed, _) = runtime.block_on(compare(&tree(&left), &tree(&right))).unwrap();
            prop_assert_eq!(changed, expected(&left, &right));
        }
    }
}
