//! The layered layout: where boxes lie and where the lines between them run.
//!
//! The steps are those of Sugiyama, Tagawa and Toda. Links that would close a cycle are set apart (`cycle`), boxes get layers
//! (`layer`), links across several layers are cut into steps from layer to layer (`step`), each layer is put into an order with few
//! crossings (`order`) and gets coordinates (`place`), and lines are drawn in the channels between the layers (`port`, `track`, `route`).
//!
//! Links of the same lane that lead to the same box join as early as they can and run as one line from there on.

mod cycle;
mod layer;
mod order;
mod place;
mod port;
mod route;
mod step;
#[cfg(test)]
mod tests;
mod track;

/// Width and height, in pixels as everything here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    pub width: i32,
    pub height: i32,
}

/// A place; y grows downwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    pub x: i32,
    pub y: i32,
}

/// A box that has its place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rect {
    pub x: i32,
    pub y: i32,
    pub width: i32,
    pub height: i32,
}

/// A line to be drawn from one box to another, both by their position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub from: usize,
    pub to: usize,
    /// Links of one lane look alike, so that those to the same box may join.
    pub lane: u32,
    /// Width of the label at its start.
    pub label: i32,
}

/// The layout of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Where each box lies.
    pub boxes: Vec<Rect>,
    /// The corners of each link's line, from the lower border of its source to the upper border of its target.
    pub routes: Vec<Vec<Point>>,
    /// What all of it takes.
    pub size: Size,
    /// Whether each link leads back up.
    pub upward: Vec<bool>,
    /// The layer of each box.
    #[cfg(test)]
    pub layers: Vec<usize>,
}

/// Lays boxes and links out. The first box is the entry; the earlier of two links out of a box has the better claim to the straight way.
///
/// Every link's ends must be among the boxes.
pub fn layout(sizes: &[Size], links: &[Link]) -> Layout {
    let walk = cycle::walk(sizes.len(), links);
    let layers = layer::assign(sizes.len(), links, &walk);
    let steps = step::Steps::new(links, &layers, &walk.upward);
    let order = order::arrange(&steps, &walk.preorder);
    let centres = place::centres(&steps, &order, sizes);
    let ports = port::assign(&steps, links, sizes, &centres);
    let (boxes, routes, size) = route::draw(&steps, links, sizes, &centres, &ports);
    Layout {
        boxes,
        routes,
        size,
        upward: walk.upward,
        #[cfg(test)]
        layers,
    }
}
