INSERT INTO uploads (id, project, filename, purpose, mime_type, bytes, created_at, expires_at,
                     file_expires_after_seconds, state, file_id, part_ids)
VALUES (:id, :project, :filename, :purpose, :mime_type, :bytes, :created_at, :expires_at,
        :file_expires_after_seconds, :state, :file_id, :part_ids)
