/** From what the form says to one request for each picture. */

const LARGEST_SEED = Number.MAX_SAFE_INTEGER;
const SMALL_SEEDS = 2 ** 32;

/**
 * The requests for n pictures. Since a stream carries one picture, picture i is a request of its own with seed + i,
 * which is what n would have meant. A seed that is left open is drawn here, so that it can be said again.
 * @param {object} values  fields under the API's names
 * @param {Record<string, File>} files  `image`, and `mask` where one is painted; none: a picture from text
 */
export function makeRequests(model, values, count, files) {
  const first = values.seed ?? crypto.getRandomValues(new Uint32Array(1))[0] % SMALL_SEEDS;
  return Array.from({ length: count }, (_, index) => ({
    path: files.image ? "v1/images/edits" : "v1/images/generations",
    fields: {
      model,
      ...values,
      seed: seedOf(first, index),
      stream: true,
      partial_images: 3,
      progress: true,
    },
    files,
  }));
}

/** As the server counts: after the largest seed comes 0. */
function seedOf(first, index) {
  const room = LARGEST_SEED - first;
  return index <= room ? first + index : index - room - 1;
}
