//! Definition and repetition levels, derived once for all columns below a list.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use arrow::array::{Array, ArrayRef, UInt64Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use parquet::errors::{ParquetError, Result};

use super::{rle, shape};

/// The definition level of a slot whose value is there as far as has been looked: each leaf has its own number for that.
const OPEN: u8 = u8::MAX;

/// The slots of the columns below a list: one for each element, and one for each place that has none since a list is empty
/// or something around it is null.
pub(super) struct LevelBuffer {
    /// Where it ends for each slot, or that it goes on.
    definitions: Vec<u8>,
    /// Which list each slot goes on; empty outside of lists.
    repetitions: Rc<Repetitions>,
    /// A slot whose level is this or more has an element.
    element: u8,
    /// The number of slots that have one.
    elements: usize,
    /// Encoded definition levels of columns without a null of their own, by the level of what is there.
    encoded: RefCell<Vec<(u8, Rc<[u8]>)>>,
}

struct Repetitions {
    levels: Vec<u8>,
    depth: u8,
    encoded: Vec<u8>,
}

impl Repetitions {
    fn new(levels: Vec<u8>, depth: u8) -> Result<Rc<Self>> {
        let mut encoded = Vec::new();
        if depth > 0 {
            encode(&levels, depth, &mut encoded)?;
        }
        Ok(Rc::new(Self { levels, depth, encoded }))
    }
}

/// Where in the tree of columns a value stands.
#[derive(Clone)]
pub(super) struct Levels {
    buffer: Rc<LevelBuffer>,
    /// The definition level of what is there.
    definition: u8,
    /// The elements whose struct is null.
    nulls: Option<NullBuffer>,
    /// Rows of the root.
    rows: usize,
}

impl Levels {
    /// The columns of the root.
    pub(super) fn root(rows: usize) -> Result<Self> {
        let repetitions = Repetitions::new(vec![0; rows], 0)?;
        let buffer = LevelBuffer { definitions: vec![OPEN; rows], repetitions, element: 0, elements: rows, encoded: RefCell::default() };
        Ok(Self { buffer: Rc::new(buffer), definition: 0, nulls: None, rows })
    }

    /// The number of slots.
    pub(super) fn len(&self) -> usize {
        self.buffer.definitions.len()
    }

    /// The number of rows of the root, which all columns share.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The number of values that a column has here.
    pub(super) fn elements(&self) -> usize {
        self.buffer.elements
    }

    /// The fields of a struct that may be null.
    pub(super) fn of_struct(&self, nullable: bool, nulls: Option<&NullBuffer>) -> Result<Self> {
        let definition = self.definition + u8::from(nullable);
        let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) else {
            return Ok(Self { definition, ..self.clone() });
        };
        let definitions = self.close_nulls(nulls, OPEN)?;
        let buffer = LevelBuffer {
            definitions,
            repetitions: Rc::clone(&self.buffer.repetitions),
            element: self.buffer.element,
            elements: self.buffer.elements,
            encoded: RefCell::default(),
        };
        Ok(Self { buffer: Rc::new(buffer), definition, nulls: NullBuffer::union(self.nulls.as_ref(), Some(nulls)), rows: self.rows })
    }

    /// The elements of lists that may be null, and those elements that stand in one that is there.
    pub(super) fn of_list(
        &self,
        nullable: bool,
        nulls: Option<&NullBuffer>,
        offsets: &[i32],
        elements: &ArrayRef,
    ) -> Result<(Self, ArrayRef)> {
        let (empty, definition) = (self.definition + u8::from(nullable), self.definition + u8::from(nullable) + 1);
        let depth = self.buffer.repetitions.depth + 1;
        // Filled with what most slots have, and cut once their number is known.
        let room = self.len() + elements.len();
        let (mut definitions, mut repetitions) = (vec![OPEN; room], vec![depth; room]);
        let mut slots = 0;
        // The elements in lists that are there: one range, unless a null hides some.
        let mut live: Vec<Range<usize>> = Vec::new();
        let mut lists = offsets.array_windows().map(|[start, end]| *start as usize..*end as usize).enumerate();
        for (&level, &repetition) in self.buffer.definitions.iter().zip(&self.buffer.repetitions.levels) {
            // A slot without an element has no list either.
            let list = if level >= self.buffer.element { lists.next() } else { None };
            let (level, length) = match list.filter(|_| level == OPEN) {
                None => (level, 1),
                Some((position, _)) if nulls.is_some_and(|nulls| nulls.is_null(position)) => (self.definition, 1),
                Some((_, list)) if list.is_empty() => (empty, 1),
                Some((_, list)) => {
                    let length = list.len();
                    match live.last_mut().filter(|last| last.end == list.start) {
                        Some(last) => last.end = list.end,
                        None => live.push(list),
                    }
                    (OPEN, length)
                }
            };
            let (first, place) =
                repetitions.get_mut(slots).zip(definitions.get_mut(slots)).ok_or_else(|| shape("lists of more than their elements"))?;
            (*first, *place) = (repetition, level);
            slots += length;
        }
        if slots > room {
            return Err(shape("lists of more than their elements"));
        }
        definitions.truncate(slots);
        repetitions.truncate(slots);
        let elements = match live.as_slice() {
            [] => elements.slice(0, 0),
            [all] => elements.slice(all.start, all.len()),
            _ => take(elements, &UInt64Array::from_iter_values(live.into_iter().flatten().map(|element| element as u64)), None)?,
        };
        let buffer = LevelBuffer {
            definitions,
            repetitions: Repetitions::new(repetitions, depth)?,
            element: definition,
            elements: elements.len(),
            encoded: RefCell::default(),
        };
        Ok((Self { buffer: Rc::new(buffer), definition, nulls: None, rows: self.rows }, elements))
    }

    /// The elements of a leaf that are null, in it or around it.
    pub(super) fn nulls(&self, leaf: Option<&NullBuffer>) -> Option<NullBuffer> {
        NullBuffer::union(self.nulls.as_ref(), leaf).filter(|nulls| nulls.null_count() > 0)
    }

    /// Appends the levels of a leaf as they stand in a page: repetition, then definition.
    pub(super) fn encode(&self, nullable: bool, nulls: Option<&NullBuffer>, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(&self.buffer.repetitions.encoded);
        let definition = self.definition + u8::from(nullable);
        if definition == 0 {
            return Ok(());
        }
        if let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) {
            return encode(&self.close_nulls(nulls, definition)?, definition, out);
        }
        let mut encoded = self.buffer.encoded.borrow_mut();
        if let Some((_, bytes)) = encoded.iter().find(|(of, _)| *of == definition) {
            out.extend_from_slice(bytes);
            return Ok(());
        }
        let start = out.len();
        let definitions: Vec<u8> = self.buffer.definitions.iter().map(|level| if *level == OPEN { definition } else { *level }).collect();
        encode(&definitions, definition, out)?;
        encoded.push((definition, out.get(start..).unwrap_or_default().into()));
        Ok(())
    }

    /// The definition levels with the null elements closed, and the others put to `open`.
    fn close_nulls(&self, nulls: &NullBuffer, open: u8) -> Result<Vec<u8>> {
        if nulls.len() != self.elements() {
            return Err(shape("nulls of another number of elements"));
        }
        let levels = [self.definition, open];
        let mut elements = nulls.inner().iter();
        let close = |&level: &u8| {
            // As many elements as there are nulls to say of.
            let valid = level < self.buffer.element || elements.next().is_some_and(|valid| valid);
            if level == OPEN { levels[usize::from(valid)] } else { level }
        };
        Ok(self.buffer.definitions.iter().map(close).collect())
    }
}

/// Appends levels up to `largest`, with their length in front.
fn encode(levels: &[u8], largest: u8, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    out.extend([0; 4]);
    rle::hybrid(levels, rle::width(largest.into()), out);
    let length = u32::try_from(out.len() - start - 4).map_err(|error| ParquetError::External(error.into()))?;
    if let Some(place) = out.get_mut(start..).and_then(<[u8]>::first_chunk_mut) {
        *place = length.to_le_bytes();
    }
    Ok(())
}
