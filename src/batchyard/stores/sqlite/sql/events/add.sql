INSERT INTO events (id, project, kind, batch_id, at) VALUES (:id, :project, :kind, :batch_id, :at)
