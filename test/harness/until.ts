/**
 * Waits for the first event of a source that satisfies `accept`; the source pushes, nothing polls. Rejects with `what`
 * after `timeoutMs`, which is a safety net and not a measurement.
 */
export function until<T>(
  subscribe: (push: (event: T) => void) => () => void,
  accept: (event: T) => boolean,
  what: string,
  timeoutMs = 30_000,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const end = (settle: () => void) => {
      clearTimeout(timer)
      unsubscribe()
      settle()
    }
    const timer = setTimeout(() => end(() => reject(new Error(`never seen: ${what}`))), timeoutMs)
    const unsubscribe = subscribe((event) => {
      if (accept(event)) end(() => resolve(event))
    })
  })
}

/**
 * Waits until `look` gives something: for states that nothing pushes, such as another process's metrics. What it threw
 * last is told when it never does.
 */
export async function eventually<T>(
  look: () => Promise<T | undefined | false> | T | undefined | false,
  what: string,
  timeoutMs = 40_000,
): Promise<T> {
  const deadlineMs = performance.now() + timeoutMs
  let trouble: unknown
  for (;;) {
    try {
      const found = await look()
      if (found !== undefined && found !== false) return found
    } catch (thrown) {
      trouble = thrown
    }
    if (performance.now() > deadlineMs) throw new Error(`never true: ${what}`, { cause: trouble })
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
