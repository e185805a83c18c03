import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The models that come with Sluice; they lie beside the sources and in the package alike. */
export const catalogueFolder = (): string => fileURLToPath(new URL('../devicemodels/', import.meta.url))

/** What several of them share. No models: nothing in here can be applied. */
export const FRAGMENTS = 'fragments'

export const fragmentFolder = (): string => join(catalogueFolder(), FRAGMENTS)
