import { useEffect, useState } from 'preact/hooks'
import { call } from './http.ts'

export interface Answer<T> {
  readonly value: T | undefined
  readonly error: unknown
  /** Asks again now. */
  readonly again: () => void
}

/** What a path answers, asked again every so often while the page is looked at. */
export function useAnswer<T>(path: string | undefined, everyMs = 0): Answer<T> {
  const [state, setState] = useState<{ value: T | undefined; error: unknown }>({ value: undefined, error: undefined })
  const [round, setRound] = useState(0)
  useEffect(() => {
    if (path === undefined) return
    const over = new AbortController()
    const { signal } = over
    let timer: ReturnType<typeof setTimeout> | undefined
    const ask = async () => {
      try {
        if (document.visibilityState === 'visible') {
          const value = await call<T>(path, { signal })
          if (!signal.aborted) setState({ value, error: undefined })
        }
      } catch (error) {
        if (!signal.aborted) setState((before) => ({ value: before.value, error }))
      }
      if (everyMs > 0 && !signal.aborted) timer = setTimeout(() => void ask(), everyMs)
    }
    void ask()
    return () => {
      over.abort()
      clearTimeout(timer)
    }
  }, [path, everyMs, round])
  return { ...state, again: () => setRound((before) => before + 1) }
}
