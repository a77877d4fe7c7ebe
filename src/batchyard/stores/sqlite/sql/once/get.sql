SELECT digest, made FROM once WHERE project = :project AND call = :call AND key = :key
