"""A CPU engine that multiplies less: Winograd's minimal filtering, area by area through chunks of time.

What limits the other CPU engine is the number of multiplications, so this one needs a third of them. Five ideas:

**Fewer multiplications.** A 3-tap filter g over a row of inputs d gives m outputs ``y[i] = sum_k g[k] d[i + k]``. They can
be had from few products of sums of inputs with sums of weights::

    y = A'[(G g) * (B'd)]                      * element by element

with constant matrices A, B and G (Winograd 1980). In two dimensions, over a tile of a map, with X = B'dB and U = G g G'::

    Y = A'[U * X]A

and the products are then summed over input channels before A is applied. So for each of the elements of U there is one
product of matrices, (tiles, input channels) by (input channels, output channels). F(4, 3), which makes 4 x 4 outputs of
36 products, needs a quarter of the 144 multiplications of a direct 3x3 convolution. A map of 2 x 2 with zeros around it is a
Toeplitz matrix in each direction, and takes 9 products instead of 36. `cordstasks.cordsnet.engines.fast.transforms` has the
formulas; U is computed once.

**One inverse transform.** The inputs of an area from itself and from below are added before A is applied: the sum over input
channels runs over both.

**Area by area through a chunk of time.** At step t an area reads itself, the one below and the one below that, all at
t - 1, and nothing reads from above. So the whole chunk of area 0 can be computed first, then that of area 1, and so on.
The weights of an area then stay in the cache, and what comes from below is multiplied for several steps at once. States
of a chunk are kept in a ring of slots, with a border of zeros around each map.

**Stride 2 is multiplied directly**: areas 2, 4 and 6 gather the 3x3 patches that their outputs see into rows.

**Plain threads.** The images of a batch are divided among threads that hold no lock of the interpreter. With few
images, areas and chunks are the jobs: see `cordstasks.cordsnet.engines.fast.schedule`.

Modules, from the bottom up: `transforms` (formulas), `vectors` (products and transforms as vector instructions, made by
numba and LLVM, without any other compiler), `areas` (loops of one area through a chunk), `room` (weights and buffers),
`schedule` (who computes what), `engine` (the check against the other engine, and the fallback on it).

References
----------
Winograd (1980), Arithmetic Complexity of Computations. Lavin & Gray (2016), Fast Algorithms for Convolutional Neural
Networks, CVPR.
"""
